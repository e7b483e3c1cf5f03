-- Revert shop:order_index from pg

DROP INDEX CONCURRENTLY orders_customer_idx;
