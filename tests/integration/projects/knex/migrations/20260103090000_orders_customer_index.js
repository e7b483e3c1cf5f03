exports.config = { transaction: false };

exports.up = (knex) =>
  knex.raw('CREATE INDEX CONCURRENTLY orders_customer_idx ON orders (customer_id)');

exports.down = (knex) => knex.raw('DROP INDEX CONCURRENTLY orders_customer_idx');
