ALTER TABLE public.events ADD COLUMN euros numeric(12, 2);
UPDATE public.events SET euros = cents / 100.0;
