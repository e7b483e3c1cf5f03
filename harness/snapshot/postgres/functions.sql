-- One row per function, procedure and aggregate; `signature` tells overloads apart.
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
       n.nspname AS schema,
       p.proname AS object,
       oidvectortypes(p.proargtypes) AS signature,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
            ELSE format('%s %s(%s) SFUNC = %s, STYPE = %s, FINALFUNC = %s, COMBINEFUNC = %s, '
                        'INITCOND = %L, SORTOP = %s, PARALLEL = %s',
                        g.aggkind, format_type(p.prorettype, NULL),
                        pg_get_function_arguments(p.oid), g.aggtransfn::regprocedure,
                        format_type(g.aggtranstype, NULL), g.aggfinalfn::regprocedure,
                        g.aggcombinefn::regprocedure, g.agginitval, g.aggsortop::regoperator,
                        p.proparallel) END AS definition,
       pg_get_userbyid(p.proowner) AS owner,
       array_to_string(coalesce(p.proacl, acldefault('f', p.proowner)), E'\n') AS grants,
       d.description AS comment
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_aggregate AS g ON g.aggfnoid = p.oid
  LEFT JOIN pg_catalog.pg_description AS d
    ON d.classoid = 'pg_catalog.pg_proc'::regclass AND d.objoid = p.oid
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::regclass
                      AND e.objid = p.oid AND e.deptype IN ('e', 'i'));
