// The demo's checks can fail: examples/demo.sh with three things spoilt on purpose says which of its promises broke, and exits with 1.
// (tests/run.sh runs it unspoilt.)
#include <gmock/gmock.h>

#include "tests/e2e/process.hpp"

namespace doorstep::e2e {
namespace {

TEST(Demo, ItsChecksFindWhatWasSpoilt) {
  const TempFolder folder;
  const Finished done =
      run({std::string(DOORSTEP_SOURCE_DIR) + "/examples/demo.sh", "--spoil", "leak", "--spoil", "late", "--spoil", "history"}, {},
          {{"DOORSTEP_BIN_DIR", bin_dir().string()}, {"DOORSTEP_DEMO_DIR", folder / "demo"}});
  EXPECT_EQ(done.code, 1) << done.out << done.err;
  for (const char* promise : {"✗ 三台设备状态摘要相同", "✗ 没有未送到的内容", "✗ 写过的每个值", "✗ 录下的全部流量里没有"})
    EXPECT_THAT(done.out, testing::HasSubstr(promise));
  for (const char* promise : {"✓ 没有暂存待查的内容", "✓ 中继的数据校验通过", "✓ 中继的文件里没有任何姓名", "✓ 三台设备的文件里没有"})
    EXPECT_THAT(done.out, testing::HasSubstr(promise)) << done.err;
}

}  // namespace
}  // namespace doorstep::e2e
