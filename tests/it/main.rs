//! The programs on real parts: the system's ssh, a real sshd, an older Host, other people's proxies and clients.
//!
//! `contrib/test.sh` installs what these tests need. What is missing fails them; nothing is skipped.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

// libtest starts tests in the order of their names. This one takes two minutes, so it comes first.
mod abandoned_peers;
mod auth_command;
mod bad_input;
mod bench_report;
mod completions;
mod config_command;
mod connect_choice;
mod connect_command;
mod connect_terminal;
mod connect_transport;
mod dead_runners;
mod debian_package;
mod doctor;
mod first_run;
mod gateway_access;
mod gateway_admin;
mod gateway_audit;
mod gateway_dead_runners;
mod gateway_each_limit;
mod gateway_ends;
mod gateway_hosts;
mod gateway_limits;
mod gateway_metrics;
mod gateway_own_addresses;
mod gateway_own_machine;
mod gateway_pipes;
mod gateway_readers;
mod gateway_restarts;
mod gateway_signals;
mod gateway_turned_away;
mod helper_answers;
mod helper_disconnect;
mod helper_ends;
mod helper_endurance;
mod helper_farewell;
mod helper_fdpass;
mod helper_first_byte;
mod helper_log;
mod helper_older_endurance;
mod helper_pipes;
mod helper_settings;
mod helper_stdio;
mod helper_waits;
mod hints;
mod life_cycle;
mod login;
mod older_host;
mod older_host_commands;
mod other_clients;
mod other_proxies;
mod quick_set;
mod readme;
mod refusals;
mod returning_network;
mod sessions_command;
mod several_gateways;
mod slow_host;
mod soak;
mod ssh_config;
mod ssh_config_files;
mod ssh_matrix;
mod stock_clients;
mod support;
mod surroundings;
mod systemd_units;
mod tables;
mod threat_model;
mod transcripts;
mod vps_create;
mod watching;
