-- Foreign-data wrappers, servers and user mappings. Options are listed, secrets among them hidden.
SELECT 'foreign-data-wrapper' AS kind,
       w.fdwname AS object,
       NULL::text AS part,
       array_to_string(w.fdwoptions, E'\n') AS options,
       concat_ws(', ', 'handler ' || nullif(w.fdwhandler, 0)::regproc::text,
                 'validator ' || nullif(w.fdwvalidator, 0)::regproc::text) AS definition,
       pg_get_userbyid(w.fdwowner) AS owner,
       array_to_string(coalesce(w.fdwacl, acldefault('F', w.fdwowner)), E'\n') AS grants
  FROM pg_catalog.pg_foreign_data_wrapper AS w
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass
                      AND e.objid = w.oid AND e.deptype = 'e')
UNION ALL
SELECT 'server', s.srvname, NULL,
       array_to_string(s.srvoptions, E'\n'),
       concat_ws(', ', 'wrapper ' || w.fdwname, 'type ' || s.srvtype, 'version ' || s.srvversion),
       pg_get_userbyid(s.srvowner),
       array_to_string(coalesce(s.srvacl, acldefault('S', s.srvowner)), E'\n')
  FROM pg_catalog.pg_foreign_server AS s
  JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
UNION ALL
SELECT 'user-mapping', m.srvname, m.usename, array_to_string(m.umoptions, E'\n'), '', NULL, NULL
  FROM pg_catalog.pg_user_mappings AS m;
