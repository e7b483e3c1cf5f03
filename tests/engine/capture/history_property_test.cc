// Random histories of several sessions that write the same few rows in every way that PostgreSQL
// has, with replays in between: once all is replayed, the mirror is what the mapping makes of main.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <array>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "tests/engine/capture/mirror.h"

namespace understudy::capture {
namespace {

using testing::Mirrored;
using understudy::testing::Database;

constexpr int kSessions = 3;
constexpr int kKeys = 8;  // few, so that everybody meets

// Some value that is drawn: keys and values of a statement are made of it.
struct Step {
  int kind = 0;
  int session = 0;
  int a = 0;
  int b = 0;
};
constexpr int kKinds = 23;

std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << "{" << step.kind << ", " << step.session << ", " << step.a << ", " << step.b << "}";
}

rc::Gen<Step> AnyStep() {
  return rc::gen::build<Step>(rc::gen::set(&Step::kind, rc::gen::inRange(0, kKinds)),
                              rc::gen::set(&Step::session, rc::gen::inRange(0, kSessions)),
                              rc::gen::set(&Step::a, rc::gen::inRange(0, kKeys)),
                              rc::gen::set(&Step::b, rc::gen::inRange(0, kKeys)));
}

struct World {
  bool user_triggers = false;
  bool deferrable = false;
  bool reshaped = false;  // the mirror has other names, wider types, computed columns
  bool row_security = false;
  int batch = 1;  // entries of a replay
};

std::ostream& operator<<(std::ostream& out, const World& world) {
  return out << "{triggers " << world.user_triggers << ", deferrable " << world.deferrable
             << ", reshaped " << world.reshaped << ", row security " << world.row_security
             << ", batch " << world.batch << "}";
}

rc::Gen<World> AnyWorld() {
  return rc::gen::build<World>(rc::gen::set(&World::user_triggers),
                               rc::gen::set(&World::deferrable), rc::gen::set(&World::reshaped),
                               rc::gen::set(&World::row_security),
                               rc::gen::set(&World::batch, rc::gen::element(1, 2, 5, 1000)));
}

std::string Role() { return "us_history_" + std::to_string(::getpid()); }

std::string Schema(const World& world) {
  std::string sql = R"(
DROP SCHEMA IF EXISTS public, mirror, understudy CASCADE;
CREATE SCHEMA public; CREATE SCHEMA mirror; CREATE SCHEMA understudy;
CREATE TABLE public.t (id int PRIMARY KEY, mail text UNIQUE, v int NOT NULL DEFAULT 0,
  n int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE public."C h" ("A" int REFERENCES public.t ON DELETE CASCADE ON UPDATE CASCADE @later,
  "b""" text, u uuid UNIQUE, v int, PRIMARY KEY ("A", "b"""));
CREATE TABLE public.p (k int, v int, mark text, PRIMARY KEY (k) @later) PARTITION BY RANGE (k);
CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (4);
CREATE TABLE public.p2 (mark text, k int NOT NULL, v int);
ALTER TABLE public.p ATTACH PARTITION public.p2 FOR VALUES FROM (4) TO (1000);
CREATE TABLE public.i (id int GENERATED ALWAYS AS IDENTITY, code varchar(20) PRIMARY KEY, v int);
)";
  for (std::size_t at = 0; (at = sql.find(" @later", at)) != std::string::npos; ++at) {
    sql.replace(at, 7, world.deferrable ? " DEFERRABLE INITIALLY DEFERRED" : "");
  }
  for (int i = 0; i < kKeys; i += 2) {
    const std::string n = std::to_string(i);
    sql += "INSERT INTO public.t VALUES (" + n + ", 'm" + n + "');" +
           "INSERT INTO public.\"C h\" VALUES (" + n + ", 'x', md5('" + n + "')::uuid, 0);" +
           "INSERT INTO public.p VALUES (" + n + ", 0, 'old');" +
           "INSERT INTO public.i (code, v) VALUES ('c" + n + "', 0);";
  }
  if (world.user_triggers) {
    sql += R"(
CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
  UPDATE public.t SET v = v + 100 WHERE id IN (SELECT (max(id) + 1) / 2 FROM public.t);
  UPDATE public.p SET mark = 'by trigger' WHERE k = (SELECT min(k) FROM public.p);
  DELETE FROM public.i WHERE v > 200;
  RETURN NULL;
END $$;
CREATE TRIGGER aa_meddle AFTER INSERT OR UPDATE ON public.t FOR EACH ROW
  EXECUTE FUNCTION public.meddle();
CREATE TRIGGER zz_meddle AFTER DELETE ON public."C h" FOR EACH ROW
  EXECUTE FUNCTION public.meddle();
CREATE FUNCTION public.before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.v := NEW.v + 1;
  IF NEW.v % 7 = 0 THEN RETURN NULL; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE INSERT OR UPDATE ON public.i FOR EACH ROW
  EXECUTE FUNCTION public.before();
)";
  }
  if (world.row_security) {
    sql +=
        "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON public.t USING (id % 3 <> 0);";
  }
  sql += world.reshaped ? R"(
CREATE TABLE mirror.t (tid bigint PRIMARY KEY, mail varchar(60) UNIQUE, upper text,
  v numeric NOT NULL, extra text DEFAULT 'new', n numeric GENERATED ALWAYS AS (v * 2) STORED);
)"
                        : R"(CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)";
  return sql + R"(
CREATE TABLE mirror."C h" (LIKE public."C h" INCLUDING ALL);
CREATE TABLE mirror.p (LIKE public.p INCLUDING ALL) PARTITION BY HASH (k);
CREATE TABLE mirror.p_0 PARTITION OF mirror.p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE mirror.p_1 PARTITION OF mirror.p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE mirror.i (LIKE public.i INCLUDING ALL);
GRANT USAGE ON SCHEMA public TO )" +
         Role() + "; GRANT ALL ON ALL TABLES IN SCHEMA public TO " + Role() + ";";
}

// Statements of a step that write; "" = the step is something else.
std::string Sql(const Step& step, int major) {
  const std::string a = std::to_string(step.a);
  const std::string b = std::to_string(step.b);
  switch (step.kind) {
    case 0:
      return "INSERT INTO public.t VALUES (" + a + ", 'm" + b + "', " + b + ")";
    case 1:
      return "INSERT INTO public.t VALUES (" + a + ", 'm" + a + "', " + b +
             ") ON CONFLICT (id) DO UPDATE SET v = t.v + 1, mail = NULL";
    case 2:
      return "UPDATE public.t SET v = v + 1 WHERE id IN (" + a + ", " + b + ")";
    case 3:
      return "UPDATE public.t SET id = " + b + " WHERE id = " + a;
    case 4:
      return "DELETE FROM public.t WHERE id = " + a;
    case 5:  // a unique value goes to a row that is in the log before the one that had it
      return "UPDATE public.t SET v = v + 1 WHERE id = " + b +
             "; UPDATE public.t SET mail = NULL " + "WHERE id = " + a + " OR mail = 'm" + a +
             "'; UPDATE public.t SET mail = 'm" + a + "' WHERE id = " + b;
    case 6:
      return "UPDATE public.\"C h\" SET \"b\"\"\" = 'y" + b + "', v = v + 1 WHERE \"A\" = " + a;
    case 7:
      return "INSERT INTO public.\"C h\" SELECT id, 'x" + b + "', md5('" + b +
             "')::uuid, 1 FROM public.t WHERE id >= " + a + " LIMIT 1 ON CONFLICT DO NOTHING";
    case 8:
      return "UPDATE public.\"C h\" SET u = NULL WHERE u = md5('" + a +
             "')::uuid; UPDATE public.\"C h\" SET u = md5('" + a + "')::uuid WHERE \"A\" = " + b +
             " AND \"b\"\"\" = 'x'";
    case 9:  // from partition to partition
      return "UPDATE public.p SET k = " + b + ", v = v + 1 WHERE k = " + a;
    case 10:
      return "INSERT INTO public.p VALUES (" + a + ", " + b + ", 'n') ";
    case 11:
      return "DELETE FROM public.p2 WHERE k = " + a;
    case 12:
      return "SET LOCAL session_replication_role = replica; UPDATE public.i SET v = v + 1 WHERE "
             "code IN ('c" +
             a + "', 'c" + b + "'); SET LOCAL session_replication_role = origin";
    case 13:
      return "INSERT INTO public.i (code, v) SELECT 'c' || j, j FROM generate_series(" + a + ", " +
             std::to_string(step.a + step.b) + ") j ON CONFLICT (code) DO UPDATE SET v = i.v + 10";
    case 14:
      if (major < 15) return "DELETE FROM public.i WHERE code = 'c" + a + "'";
      return "MERGE INTO public.i USING (VALUES ('c" + a + "', 1), ('c" + b +
             "', 2)) AS n (code, what) ON i.code = n.code WHEN MATCHED AND what = 1 THEN DELETE "
             "WHEN MATCHED THEN UPDATE SET v = 5 WHEN NOT MATCHED THEN INSERT (code, v) "
             "VALUES (n.code, 3)";
    case 15:
      return "SAVEPOINT s; UPDATE public.t SET v = -1; INSERT INTO public.i (code) VALUES ('s" + a +
             "'); ROLLBACK TO s; UPDATE public.i SET v = 0 WHERE code = 'c" + b + "'";
    case 16: {
      static const std::array<const char*, 5> kWhat = {"public.p1", "public.p", "public.t CASCADE",
                                                       "public.i RESTART IDENTITY",
                                                       "public.\"C h\""};
      return std::string("TRUNCATE ") + kWhat[static_cast<std::size_t>(step.a) % kWhat.size()];
    }
    case 17:
      return "SET LOCAL ROLE " + Role() +
             "; SET LOCAL search_path = pg_temp; SET LOCAL DateStyle = 'German'; UPDATE public.p "
             "SET v = v * 2 WHERE k <> " +
             a + "; DELETE FROM public.t WHERE id = " + b + "; RESET ROLE";
    case 18:
      return "UPDATE public.i SET code = 'c" + b + "' WHERE code = 'c" + a + "'";
    default:
      return "";
  }
}

class History {
 public:
  History(const Database& database, const World& world) : world_(world) {
    database.Run(Schema(world));
    mirrored_ =
        std::make_unique<Mirrored>(database, std::vector<std::string>{"t", "C h", "p", "i"});
    if (world.reshaped) Reshape(mirrored_->tables()[0].mapping);
    for (auto& session : sessions_) {
      session = database.Connect({.settings = db::Settings::kUsers});
      session->Execute("SET lock_timeout = '20ms'; SET deadlock_timeout = '10s'");
    }
    mirrored_->session().Execute("SET lock_timeout = '20ms'");
  }

  void Start() {
    for (auto& session : sessions_) End(*session, true);
    started_ = true;
    mirrored_->Start();
  }

  void Do(const Step& step) {
    db::Session& session = *sessions_[static_cast<std::size_t>(step.session)];
    switch (step.kind) {
      case 19:
        return End(session, true);
      case 20:
        return End(session, step.a % 3 != 0);
      case 21:
      case 22:
        return Replay(step);
      default:
        break;
    }
    try {
      if (!session.InTransaction()) session.Begin();
      const std::string sql = Sql(step, session.Server().major());
      if (step.kind == 13 && step.b % 2 == 0) {
        session.CopyFrom(
            "COPY public.p (k, v, mark) FROM STDIN",
            std::to_string(100 + 10 * step.a + step.b + next_++ * 1000 % 800) + "\t1\tcopied\n");
      }
      session.Execute(sql);
    } catch (const Error&) {  // refused, or somebody else has the row
      session.Rollback();
    }
  }

  // Everybody commits, everything is replayed.
  void Finish() {
    for (auto& session : sessions_) End(*session, true);
    for (const ReplayResult& result : mirrored_->ReplayAll({.entries = world_.batch})) {
      for (const RefusedRow& row : result.refused) {
        RC_FAIL(row.table.Display() + " " + row.key.dump() + ": " + row.why);
      }
    }
    RC_ASSERT(mirrored_->PendingNow() == 0);
    for (std::size_t i = 0; i < mirrored_->tables().size(); ++i) {
      RC_ASSERT(mirrored_->Difference(i) == "");
      RC_ASSERT(mirrored_->Compare(i).equal);
    }
  }

  std::int64_t entries() const { return entries_; }

 private:
  static void Reshape(RowMapping& mapping) {
    mapping.columns = {{"tid", "id", true},
                       {"mail", "\"mail\"", true},
                       {"upper", "(upper(t.mail) || id)", true},
                       {"v", "\"v\"", true}};
    mapping.mirror_key = {"tid"};
    mapping.not_compared = {"extra"};
  }

  void End(db::Session& session, bool commit) {
    if (!session.InTransaction()) return;
    try {
      if (commit) {
        session.Commit();
      } else {
        session.Rollback();
      }
    } catch (const Error&) {  // a deferred key
      session.Rollback();
    }
  }

  void Replay(const Step& step) {
    if (!started_) return;
    const std::size_t table = static_cast<std::size_t>(step.a) % mirrored_->tables().size();
    try {
      const ReplayResult result =
          mirrored_->ReplayOne(table, {.entries = step.b == 0 ? 1 : world_.batch});
      entries_ += result.entries;
      for (const RefusedRow& row : result.refused) {
        RC_FAIL(row.table.Display() + " " + row.key.dump() + ": " + row.why);
      }
      if (step.b > 4) {
        const MirrorComparison comparison = mirrored_->Compare(table);
        RC_ASSERT(comparison.equal || comparison.truncate_pending);
      }
    } catch (const Error& error) {
      // A TRUNCATE that is not committed holds the table.
      if (error.kind() != ErrorKind::kConflict) throw;
    }
  }

  World world_;
  std::unique_ptr<Mirrored> mirrored_;
  std::array<std::unique_ptr<db::Session>, kSessions> sessions_;
  std::int64_t entries_ = 0;
  bool started_ = false;
  int next_ = 0;
};

// hard-case 3 to 10, 12, 13, 15, 17, 19, 129, 130, 136
TEST(CaptureProperty, TheMirrorIsWhatTheMappingMakesOfMain) {
  NEED_POSTGRES();
  const Database database;
  database.Run("DROP ROLE IF EXISTS " + Role() + "; CREATE ROLE " + Role());
  const bool held = rc::check("a mirror after any history", [&] {
    const World world = *AnyWorld();
    const auto steps = *rc::gen::container<std::vector<Step>>(AnyStep());
    const std::size_t start = *rc::gen::inRange<std::size_t>(0, steps.size() / 4 + 1);
    History history(database, world);
    // Some of them before capture begins; nobody is in a transaction then.
    for (std::size_t i = 0; i < start; ++i) history.Do(steps[i]);
    history.Start();
    for (std::size_t i = start; i < steps.size(); ++i) history.Do(steps[i]);
    history.Finish();
  });
  EXPECT_TRUE(held);
  database.Run("DROP SCHEMA public, mirror, understudy CASCADE; DROP OWNED BY " + Role() +
               "; DROP ROLE " + Role());
}

}  // namespace
}  // namespace understudy::capture
