UPDATE orders SET remark = note WHERE remark IS DISTINCT FROM note;
