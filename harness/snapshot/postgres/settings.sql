-- ALTER DATABASE … SET and ALTER ROLE … SET, here and everywhere; what the database itself is.
-- Its name is left out: a clone or a restored dump has another one.
SELECT 'database' AS kind,
       'this' AS object,
       NULL::text AS part,
       array_to_string((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s
                         WHERE s.setdatabase = d.oid AND s.setrole = 0), E'\n') AS settings,
       pg_encoding_to_char(d.encoding) AS encoding,
       format('collate %s, ctype %s, provider %s, locale %s, version %s', d.datcollate, d.datctype,
              coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
              coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', ''),
              coalesce(to_jsonb(d) ->> 'datcollversion', '')) AS locale,
       d.datconnlimit::text AS connection_limit,
       pg_get_userbyid(d.datdba) AS owner,
       array_to_string(coalesce(d.datacl, acldefault('d', d.datdba)), E'\n') AS grants,
       shobj_description(d.oid, 'pg_database') AS comment
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = current_database()
UNION ALL
SELECT 'role-settings', pg_get_userbyid(s.setrole),
       CASE s.setdatabase WHEN 0 THEN NULL ELSE 'this' END,
       array_to_string(s.setconfig, E'\n'), NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_db_role_setting AS s
 WHERE s.setrole <> 0
   AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                              WHERE datname = current_database()));
