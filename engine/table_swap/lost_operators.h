#pragma once

#include <string>
#include <vector>

#include "engine/db/session.h"
#include "engine/table_swap/mover.h"

namespace understudy::table_swap {

// Views, rules, constraints, defaults, policies, indexes, triggers and functions (BEGIN ATOMIC)
// whose definition, as the server writes it, does not name every operator that it uses: JOIN …
// USING, IS DISTINCT FROM, NULLIF and CASE x WHEN are written without. Made again from that text,
// with nothing but pg_catalog to look in, they compare by another operator (citext as text) or
// cannot be made at all (geometry). pg_dump writes the same text.
//
// Of the relations, domains and functions of `schemas`, those of extensions apart.
std::vector<Unmovable> LostOperators(db::Session& session, const std::vector<std::string>& schemas);
// Of these objects, by catalog and OID as arrays.
std::vector<Unmovable> LostOperators(db::Session& session, const db::Value& catalogs,
                                     const db::Value& oids);

}  // namespace understudy::table_swap
