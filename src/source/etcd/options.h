// How an etcd cluster is reached and what is kept there.
#pragma once

#include <string>
#include <vector>

#include "net/address.h"

namespace beeline::source {

struct EtcdOptions {
    std::vector<std::string> endpoints; // URLs with http or https and a port, of one cluster
    std::string prefix = "/beeline";
    std::string ca_file;     // of https endpoints; empty: the system's
    std::string certificate; // of this client, with `key`
    std::string key;
    std::string server_name; // instead of the endpoint's, in the server's certificate
    std::string user;        // empty: no password
    std::string password_file;
    unsigned lease_s = 30; // how long this node stays registered without a sign of life

    std::string node;               // this machine's name
    std::vector<net::Ip> addresses; // where other nodes reach it; empty: found out
    std::string state_folder;       // the last good objects and the lease are kept in it

    // Waits; tests make them short.
    unsigned connect_ms = 2000;
    unsigned request_ms = 5000;
    unsigned first_pause_ms = 100; // after a failure, doubled up to
    unsigned longest_pause_ms = 5000;
    unsigned settle_ms = 5; // a burst of changes counts as one
    unsigned page = 500;    // keys of one answer
};

} // namespace beeline::source
