DROP TRIGGER orders_remark ON orders;
DROP FUNCTION orders_remark();
ALTER TABLE orders DROP COLUMN remark;
