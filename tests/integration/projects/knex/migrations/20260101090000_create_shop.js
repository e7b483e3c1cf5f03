exports.up = async (knex) => {
  await knex.schema.createTable('customers', (t) => {
    t.bigIncrements('id');
    t.text('email').notNullable().unique();
  });
  await knex.schema.createTable('orders', (t) => {
    t.bigIncrements('id');
    t.bigInteger('customer_id').notNullable().references('customers.id');
    t.decimal('total', 12, 2).notNullable().defaultTo(0);
  });
};

exports.down = async (knex) => {
  await knex.schema.dropTable('orders');
  await knex.schema.dropTable('customers');
};
