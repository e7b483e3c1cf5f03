ALTER TABLE public.events DROP COLUMN euros;
