#include "cli/entry_commands.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

using Op = hubapi::EntryChange::Op;

template <class Command>
void give_token(Fixture<Command>& fixture) {
  fixture.variables["CULVERT_TOKEN"] = token().encode();
}

TEST(EntrySubmit, TakesAHostnameAndWhatIsToBeDone) {
  Fixture<EntrySubmitCommand> put;
  give_token(put);
  ASSERT_TRUE(put.resolve({"Shop.Example", "--tls-mode", "terminate"}));
  EXPECT_EQ(put.command.change().op, Op::kPut);
  EXPECT_EQ(put.command.change().hostname->text(), "shop.example");
  EXPECT_EQ(put.command.change().tls_mode, route::TlsMode::kTerminate);
  Fixture<EntrySubmitCommand> remove;
  give_token(remove);
  ASSERT_TRUE(remove.resolve({"*.shop.example", "--delete"}));
  EXPECT_EQ(remove.command.change().op, Op::kDelete);
}

TEST(EntrySubmit, NamesWhatIsWrong) {
  const struct {
    std::vector<std::string> arguments;
    const char* expected;
  } cases[] = {{{"shop"}, "HOSTNAME: "},
               {{""}, "HOSTNAME: "},
               {{"shop.example", "--tls-mode", "http"}, "--tls-mode: "},
               {{"shop.example", "--tls-mode", "terminate", "--delete"}, "does not go with --delete"}};
  for (const auto& each : cases) {
    Fixture<EntrySubmitCommand> f;
    give_token(f);
    EXPECT_THAT(f.error(each.arguments), HasSubstr(each.expected));
  }
  Fixture<EntrySubmitCommand> f;
  EXPECT_THAT(f.error({"shop.example"}), HasSubstr("token"));
  Fixture<EntryListCommand> list;
  EXPECT_THAT(list.error({}), HasSubstr("token"));
  Fixture<TenantLeaveCommand> leave;
  EXPECT_THAT(leave.error({}), HasSubstr("token"));
}

}  // namespace
}  // namespace culvert::cli
