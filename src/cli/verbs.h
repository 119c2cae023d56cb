// Each adds its verbs to the command line.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace beeline::cli {

void register_status_commands(CLI::App& app, Context& context);
void register_object_commands(CLI::App& app, Context& context);       // apply, delete, get
void register_flow_commands(CLI::App& app, Context& context);         // flows
void register_alert_commands(CLI::App& app, Context& context);        // alerts, events
void register_rule_commands(CLI::App& app, Context& context);         // rules, record
void register_rule_test(CLI::App& rules, Context& context);           // rules test
void register_policy_commands(CLI::App& app, Context& context);       // policy explain
void register_why_commands(CLI::App& app, Context& context);          // why
void register_top_commands(CLI::App& app, Context& context);          // top
void register_service_commands(CLI::App& app, Context& context);      // service list
void register_map_commands(CLI::App& app, Context& context);          // map list, map dump
void register_connectivity_commands(CLI::App& app, Context& context); // connectivity test
void register_install_commands(CLI::App& app, Context& context);      // install, uninstall
void register_sysdump_commands(CLI::App& app, Context& context);      // sysdump
void register_shell_commands(CLI::App& app, Context& context); // completion, the command-line page

} // namespace beeline::cli
