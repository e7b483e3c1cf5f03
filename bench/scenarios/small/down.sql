ALTER TABLE public.orders DROP COLUMN weight_g;
