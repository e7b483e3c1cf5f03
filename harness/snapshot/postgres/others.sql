-- Small kinds that are read as one definition each: casts, operators, collations.
SELECT 'cast' AS kind,
       NULL::text AS schema,
       NULL::text AS object,
       format('%s AS %s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)) AS signature,
       format('%s, %s', CASE c.castmethod WHEN 'f' THEN 'function ' || c.castfunc::regprocedure::text
                                          WHEN 'i' THEN 'inout' ELSE 'binary' END,
              CASE c.castcontext WHEN 'e' THEN 'explicit' WHEN 'a' THEN 'assignment'
                                 ELSE 'implicit' END) AS definition,
       NULL::text AS owner,
       obj_description(c.oid, 'pg_cast') AS comment
  FROM pg_catalog.pg_cast AS c
 WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_cast'::regclass
                      AND e.objid = c.oid AND e.deptype IN ('e', 'i'))
UNION ALL
SELECT 'operator', n.nspname, o.oprname,
       concat_ws(', ', nullif(format_type(nullif(o.oprleft, 0), NULL), '???'),
                 nullif(format_type(nullif(o.oprright, 0), NULL), '???')),
       format('function %s, returns %s, commutator %s, negator %s, restrict %s, join %s%s%s',
              o.oprcode::regprocedure, format_type(o.oprresult, NULL), o.oprcom::regoperator,
              o.oprnegate::regoperator, o.oprrest::regproc, o.oprjoin::regproc,
              CASE WHEN o.oprcanmerge THEN ', merges' ELSE '' END,
              CASE WHEN o.oprcanhash THEN ', hashes' ELSE '' END),
       pg_get_userbyid(o.oprowner),
       obj_description(o.oid, 'pg_operator')
  FROM pg_catalog.pg_operator AS o
  JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_operator'::regclass
                      AND e.objid = o.oid AND e.deptype = 'e')
UNION ALL
SELECT 'collation', n.nspname, c.collname, NULL,
       format('provider %s, collate %s, ctype %s, locale %s, %s, version %s',
              c.collprovider, c.collcollate, c.collctype,
              coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', ''),
              CASE WHEN c.collisdeterministic THEN 'deterministic' ELSE 'nondeterministic' END,
              coalesce(c.collversion, '')),
       pg_get_userbyid(c.collowner),
       obj_description(c.oid, 'pg_collation')
  FROM pg_catalog.pg_collation AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_collation'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e');
