exports.up = async (knex) => {
  await knex.schema.alterTable('orders', (t) => t.bigInteger('total_cents'));
  await knex('orders').update({ total_cents: knex.raw('round(total * 100)') });
};

exports.down = (knex) => knex.schema.alterTable('orders', (t) => t.dropColumn('total_cents'));
