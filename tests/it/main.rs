//! The stories: the built daemon against real servers and strict imitations of chat services.
//!
//! One file a story. What they stand on is in `harness`. Run them with `scripts/test`, which
//! finds or installs the servers.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may panic, and measures real time"
)]

mod harness;

mod act;
mod alerting;
mod alertmanager;
mod api;
mod booted;
mod booted_package;
mod chat;
mod cli;
mod config_errors;
mod crash;
mod doctor;
mod documents;
mod doors;
mod email;
mod faults_store;
mod faults_store_postgres;
mod grpc;
mod hanging_channel;
mod heartbeat;
mod history;
mod hostile_peers;
mod http_depth;
mod imitations;
mod init;
mod latency;
mod limits;
mod live;
mod load;
mod mail_servers;
mod many_checks;
mod names;
mod openapi;
mod operate;
mod others_accept_what_is_sent;
mod own_incidents;
mod packages;
mod page;
mod page_actions;
mod plugins;
mod postgres_depth;
mod readme;
mod redis_depth;
mod reload_stop;
mod renamed;
mod rpc_nodes;
mod secrets;
mod six_kinds;
mod store_commands;
mod store_trouble;
mod system_depth;
mod watched_files;
mod ways;
mod websocket_feed;
mod windows;
