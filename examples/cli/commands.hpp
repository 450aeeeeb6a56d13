// The table of commands. Each command is one function that declares its options and returns what it does.
#pragma once

#include <span>

#include "examples/cli/app.hpp"

namespace doorstep::cli {

struct Command {
  const char* group;  ///< "space" of `space list`; empty for most.
  const char* name;
  Text summary;
  Runner (*define)(CLI::App& command, Language language);
};
std::span<const Command> commands();

// cmd_store.cpp
Runner define_init(CLI::App& command, Language language);
Runner define_passphrase(CLI::App& command, Language language);
Runner define_pending(CLI::App& command, Language language);
Runner define_digest(CLI::App& command, Language language);
Runner define_verify(CLI::App& command, Language language);
Runner define_quarantine(CLI::App& command, Language language);
Runner define_rebuild(CLI::App& command, Language language);
// cmd_space.cpp
Runner define_authority(CLI::App& command, Language language);
Runner define_space_found(CLI::App& command, Language language);
Runner define_space_list(CLI::App& command, Language language);
Runner define_space_members(CLI::App& command, Language language);
Runner define_space_relays(CLI::App& command, Language language);
Runner define_invite(CLI::App& command, Language language);
Runner define_join(CLI::App& command, Language language);
Runner define_applicants(CLI::App& command, Language language);
Runner define_admit(CLI::App& command, Language language);
// cmd_schema.cpp
Runner define_schema_show(CLI::App& command, Language language);
Runner define_schema_check(CLI::App& command, Language language);
// cmd_write.cpp
Runner define_put(CLI::App& command, Language language);
Runner define_import(CLI::App& command, Language language);
Runner define_draft_save(CLI::App& command, Language language);
Runner define_draft_list(CLI::App& command, Language language);
Runner define_draft_discard(CLI::App& command, Language language);
// cmd_read.cpp
Runner define_get(CLI::App& command, Language language);
Runner define_list(CLI::App& command, Language language);
// cmd_history.cpp
Runner define_history(CLI::App& command, Language language);
Runner define_conflicts(CLI::App& command, Language language);
Runner define_resolve(CLI::App& command, Language language);
// cmd_sync.cpp
Runner define_sync(CLI::App& command, Language language);
// cmd_demo.cpp
Runner define_demo_data(CLI::App& command, Language language);

/// The help of an option, for add_option and add_flag.
inline std::string help(Language language, Text text) { return std::string(text.in(language)); }

}  // namespace doorstep::cli
