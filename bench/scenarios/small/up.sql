ALTER TABLE public.orders ADD COLUMN weight_g integer;
