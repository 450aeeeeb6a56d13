#include "examples/cli/messages.hpp"

#include <cstdlib>

#include "examples/cli/output.hpp"

namespace doorstep::cli {

Language language_of_environment() {
  for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
    const char* value = std::getenv(name);
    if (value && *value) return std::string_view(value).starts_with("zh") ? Language::zh : Language::en;
  }
  return Language::en;
}

int exit_code(Code code) {
  switch (code) {
    case Code::ok: return exit_ok;
    case Code::invalid_argument: return exit_usage;
    case Code::not_found: return exit_not_found;
    case Code::already_exists: return exit_conflict;
    case Code::invalid_record: return exit_invalid_record;
    case Code::no_right: return exit_no_right;
    case Code::wrong_key: return exit_wrong_key;
    case Code::locked:
    case Code::busy: return exit_busy;
    case Code::corrupt: return exit_corrupt;
    case Code::full:
    case Code::io: return exit_disk;
    case Code::unreachable:
    case Code::timeout: return exit_unreachable;
    case Code::protocol:
    case Code::unauthenticated: return exit_peer;
    case Code::unsupported:
    case Code::too_large: return exit_unsupported;
    case Code::cancelled: return exit_cancelled;
    case Code::conflict: return exit_conflict;
    case Code::waiting: return exit_waiting;
    case Code::internal: return exit_failed;
  }
  return exit_failed;
}

std::string_view meaning(Code code, Language language) {
  const auto text = [&]() -> Text {
    switch (code) {
      case Code::ok: return {"正常", "ok"};
      case Code::invalid_argument: return {"参数不对", "that cannot work"};
      case Code::not_found: return {"没有找到", "not found"};
      case Code::already_exists: return {"已经存在，没有覆盖", "it exists already and was not overwritten"};
      case Code::invalid_record: return {"记录不符合填写规则，没有保存", "the record breaks a rule and was not saved"};
      case Code::no_right: return {"没有这个权限", "no right to do that"};
      case Code::wrong_key: return {"口令不对（数据完好）", "the passphrase is wrong; the data is whole"};
      case Code::locked: return {"已锁定，请先解锁", "locked"};
      case Code::busy: return {"另一个程序正在使用这个数据目录，请先关闭它", "another process has the store open; close it first"};
      case Code::corrupt:
        return {"数据校验不通过；没有改动任何内容，可用 rebuild 重建", "stored data fails its check; nothing was changed"};
      case Code::full: return {"磁盘已满；没有写入一半的内容，已保存的都还在", "the disk is full; what was saved is still there"};
      case Code::io: return {"读写文件失败", "the system refused a file operation"};
      case Code::unreachable:
        return {"连不上中继；本机数据不受影响，有网络时再试", "no connection to the relay; nothing was lost, try again"};
      case Code::timeout:
        return {"中继没有及时应答；本机数据不受影响，请再试", "the relay did not answer in time; nothing was lost, try again"};
      case Code::protocol: return {"对方发来的数据不合规定，连接已断开", "the peer broke the protocol; the connection was closed"};
      case Code::unauthenticated:
        return {"无法确认对方身份，或对方不认识本设备", "the peer could not prove who it is, or does not know us"};
      case Code::unsupported: return {"这个版本不支持", "this version cannot do that"};
      case Code::too_large: return {"超出上限", "above a limit"};
      case Code::cancelled: return {"已取消", "cancelled"};
      case Code::conflict: return {"别人已先改动，请重新查看后再试", "somebody changed it first: read again and retry"};
      case Code::waiting: return {"现在还不能做，需要等待", "not possible yet"};
      case Code::internal: return {"程序缺陷，数据没有改动，请报告", "a defect of Doorstep; the data is untouched, please report it"};
    }
    return {"未知错误", "unknown error"};
  }();
  return text.in(language);
}

std::string sentence(const Error& error, Language language) {
  if (error.message().empty()) return std::string(meaning(error.code(), language));
  if (language == Language::en) return error.message();
  return std::string(meaning(error.code(), language)) + "（" + error.message() + "）";
}

std::string error_json(const Error& error, Language language) {
  return Json().add("code", code_name(error.code())).add("message", sentence(error, language)).add("retryable", error.retryable()).object();
}

}  // namespace doorstep::cli
