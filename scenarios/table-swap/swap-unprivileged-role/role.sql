-- The application's role owns nothing and may do nothing but what it is granted.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rehearsal_app') THEN
    CREATE ROLE rehearsal_app NOLOGIN;
  END IF;
END $$;
GRANT SELECT ON "Member" TO rehearsal_app;
GRANT INSERT, UPDATE ("body", "stars") ON "Note" TO rehearsal_app;
GRANT SELECT ("id", "body") ON "Note" TO rehearsal_app;
GRANT USAGE ON SEQUENCE "Note_id_seq", "Note_number_seq" TO rehearsal_app;
