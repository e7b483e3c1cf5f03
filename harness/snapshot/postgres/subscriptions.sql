-- One row per subscription of this database. Its connection string may hold a password: never read.
SELECT s.subname AS object,
       s.subenabled AS enabled,
       s.subslotname AS slot,
       array_to_string(s.subpublications, ', ') AS publications,
       pg_get_userbyid(s.subowner) AS owner
  FROM pg_catalog.pg_subscription AS s
 WHERE s.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
