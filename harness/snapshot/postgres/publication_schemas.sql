-- PostgreSQL 15 and later: the schemas that a publication has as a whole.
SELECT p.pubname AS object,
       string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname) AS schemas
  FROM pg_catalog.pg_publication_namespace AS m
  JOIN pg_catalog.pg_publication AS p ON p.oid = m.pnpubid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = m.pnnspid
 GROUP BY p.pubname;
