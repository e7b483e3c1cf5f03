-- One row per event trigger.
SELECT t.evtname AS object,
       t.evtevent AS event,
       t.evtfoid::regprocedure AS function,
       array_to_string(t.evttags, ', ') AS tags,
       t.evtenabled AS enabled,
       pg_get_userbyid(t.evtowner) AS owner,
       d.description AS comment
  FROM pg_catalog.pg_event_trigger AS t
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_event_trigger'::regclass AND d.objoid = t.oid
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_event_trigger'::regclass
                      AND e.objid = t.oid AND e.deptype = 'e');
