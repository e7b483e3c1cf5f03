INSERT INTO "The other"."Member" SELECT i, 'm' || i, i FROM generate_series(1, 50) i;
INSERT INTO public."xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" ("v") SELECT 'x' || i FROM generate_series(1, 50) i;
INSERT INTO public."backup_Note" SELECT i, 'b' || i FROM generate_series(1, 50) i;
INSERT INTO public.shadow_x SELECT i, 's' || i FROM generate_series(1, 50) i;
INSERT INTO public."Größe" ("Maß") SELECT i / 7.0 FROM generate_series(1, 50) i;
