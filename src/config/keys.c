/* keys.c - the table of all keys of the configuration: one row says what a key is, what it may hold, and where it goes.
 *
 * docs/configuration.md has an entry for each row (tests/unit/config.c compares them). Defaults are read by the loader from here, so
 * what this table says is what happens.
 */
#include "config/config.h"

#include <stddef.h>

#define AT(field)        offsetof(struct config, field)
#define LISTEN_AT(field) offsetof(struct config_listener, field)
#define TLS_AT(field)    offsetof(struct config_tls, field)
#define DOMAIN_AT(field) offsetof(struct config_domain, field)
#define ROUTE_AT(field)  offsetof(struct config_route, field)
#define LISTENER_AT(field) offsetof(struct config_listener, field)
#define SECOND           1000ull
#define MINUTE           (60 * SECOND)
#define DAY              (24 * 60 * MINUTE)
#define KIB              1024ull
#define MIB              (1024 * KIB)
#define GIB              (1024 * MIB)

/* clang-format off */
const struct config_key config_keys[] = {
    {"", "hostname", "host name", "the system's", "The name of this server: in the greeting, in HELO and EHLO, in Received and in reports.", "myhostname", CONFIG_SPECIAL, false, AT(hostname), 0, 0},
    {"", "postmaster", "address", "none: kept in <state>/postmaster", "Who reads mail for postmaster.", "notify_classes, alias postmaster", CONFIG_SPECIAL, false, AT(postmaster), 0, 0},
    {"", "trusted", "networks", "none", "Clients that may relay without logging in.", "mynetworks", CONFIG_SPECIAL, true, AT(trusted), 0, 0},
    {"", "xclient", "networks", "none", "Proxies that may say by XCLIENT who their client is, its login included.", "smtpd_authorized_xclient_hosts", CONFIG_SPECIAL, true, AT(xclient), 0, 0},
    {"", "xforward", "networks", "none", "Filters that may say by XFORWARD whose mail they forward, for the log and Received.", "smtpd_authorized_xforward_hosts", CONFIG_SPECIAL, true, AT(xforward), 0, 0},
    {"", "vrfy", "nobody, known or everybody", "nobody", "Who is told by VRFY whether a mailbox exists.", "disable_vrfy_command", CONFIG_SPECIAL, false, AT(vrfy), 0, 0},
    {"", "expn", "nobody or known", "nobody", "Who is told by EXPN whom an alias stands for.", NULL, CONFIG_SPECIAL, false, AT(expn), 0, 0},
    {"", "no_soliciting", "keywords", "none", "Solicitations that are refused (RFC 3865).", NULL, CONFIG_SPECIAL, true, AT(no_soliciting), 0, 0},
    {"", "authserv_id", "host name", "that of hostname", "Our name in Authentication-Results.", NULL, CONFIG_SPECIAL, false, AT(authserv_id), 0, 0},
    {"", "spool", "folder", "/var/spool/veredus", "The queue on disk.", "queue_directory", CONFIG_PATH, false, AT(spool), 0, 0},
    {"", "state", "folder", "/var/lib/veredus", "Accounts, certificates made at the first start, default mailboxes.", "data_directory", CONFIG_PATH, false, AT(state), 0, 0},
    {"", "run", "folder", "/run/veredus", "The control and submit sockets.", NULL, CONFIG_PATH, false, AT(run), 0, 0},

    {"listen", "role", "mx, submission, submissions, lmtp or mta-sts", "mx; submission on port 587, submissions on 465, lmtp on 24", "What is spoken on this address.", "master.cf", CONFIG_SPECIAL, false, 0, 0, 0},
    {"listen", "tls", "yes or no", "yes", "With role mta-sts: HTTPS; no: HTTP, for a reverse proxy on this machine.", NULL, CONFIG_BOOL, false, LISTENER_AT(tls), 0, 0},
    {"listen", "bare_lf", "networks", "none", "Clients whose lines may end in LF alone.", "smtpd_forbid_bare_newline_exclusions", CONFIG_SPECIAL, true, LISTENER_AT(bare_lf), 0, 0},
    {"listen", "proxy", "networks", "none", "Load balancers that say by the PROXY protocol who the client is; nobody else may connect.", "smtpd_upstream_proxy_protocol, postscreen_upstream_proxy_protocol", CONFIG_SPECIAL, true, LISTENER_AT(proxy), 0, 0},

    {"listen", "client_ca", "file (PEM)", "none: clients are not asked for certificates", "Authorities whose certificates let clients log in (EXTERNAL).", "smtpd_tls_ask_ccert, smtpd_tls_CAfile", CONFIG_PATH, false, LISTEN_AT(client_ca), 0, 0},

    {"tls", "certificate", "file (PEM)", "required", "The certificate and its chain.", "smtpd_tls_chain_files, smtpd_tls_cert_file", CONFIG_PATH, false, TLS_AT(certificate), 0, 0},
    {"tls", "key", "file (PEM)", "required", "The private key of the certificate.", "smtpd_tls_key_file", CONFIG_PATH, false, TLS_AT(key), 0, 0},

    {"domain", "deliver", "maildir:, lmtp: or smtp:", "maildir:<state>/mail/{domain}/{local}", "How mail of this domain is delivered.", "virtual_transport, relay_domains", CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "mailboxes", "accounts, system or any", "accounts; any with smtp:", "Which local parts exist.", "local_recipient_maps", CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "aliases", "file", "none", "Aliases in the format of /etc/aliases, for local parts of this domain.", "alias_maps", CONFIG_PATH, false, DOMAIN_AT(aliases_file), 0, 0},
    {"domain", "virtual", "file", "none", "Lines of `address targets`; `@domain targets` takes what nobody else does.", "virtual_alias_maps", CONFIG_PATH, false, DOMAIN_AT(virtual_file), 0, 0},
    {"domain", "catch_all", "address", "none: unknown users are refused", "Who gets mail for local parts that do not exist.", "luser_relay", CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "delimiter", "one character, or empty for none", "+", "What follows it in a local part is ignored: joe+news is joe.", "recipient_delimiter", CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "owner", "system user", "the local process's user", "Who owns the mailboxes of accounts.", "virtual_uid_maps", CONFIG_TEXT, false, DOMAIN_AT(owner), 0, 0},
    {"domain", "sign", "yes or no", "yes", "Whether mail of our users from this domain is signed (DKIM), once there is a key.", "smtpd_milters (OpenDKIM)", CONFIG_BOOL, false, DOMAIN_AT(sign), 0, 0},
    {"domain", "smtputf8", "yes or no", "yes", "Whether mail whose addresses or header are beyond ASCII is taken for it.", "smtputf8_enable", CONFIG_BOOL, false, DOMAIN_AT(smtputf8), 0, 0},
    {"domain", "mx", "host names", "the hostname", "The hosts that take its mail, by preference, for `veredus dns` and the MTA-STS policy.", NULL, CONFIG_SPECIAL, true, 0, 0, 0},
    {"domain", "spf_record", "SPF record", "made of mx and the addresses that mail leaves from", "What `veredus dns` says to publish as SPF record.", NULL, CONFIG_SPECIAL, false, DOMAIN_AT(publish.spf), 0, 0},
    {"domain", "dmarc_record", "DMARC record", "v=DMARC1; p=none; rua=mailto:postmaster@DOMAIN", "What `veredus dns` says to publish as DMARC record.", NULL, CONFIG_SPECIAL, false, DOMAIN_AT(publish.dmarc), 0, 0},
    {"domain", "tls_reports", "mailto: and https: URIs", "mailto:postmaster@DOMAIN", "Where others are asked to send their reports on TLS (TLS-RPT).", NULL, CONFIG_SPECIAL, true, 0, 0, 0},
    {"domain", "mta_sts", "none, testing or enforce", "none", "The mode of its MTA-STS policy.", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "mta_sts_max_age", "time", "7d", "How long others keep its MTA-STS policy.", NULL, CONFIG_TIME, false, DOMAIN_AT(publish.mta_sts_max_age), 3600 * SECOND, 365 * DAY},
    {"domain", "imaps", "host name, or host:port", "none", "The IMAP server of its users, for the SRV record that mail programs look for.", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"domain", "etrn", "networks and accounts", "nobody", "Who may ask by ETRN for the mail that waits for this domain.", "smtpd_etrn_restrictions, fast_flush_domains", CONFIG_SPECIAL, true, DOMAIN_AT(etrn), 0, 0},

    {"domain", "verify_spf", "reject, quarantine, mark or none", "that of verify", "What is done with mail for this domain whose client SPF does not allow.", NULL, CONFIG_SPECIAL, false, DOMAIN_AT(verify.spf), 0, 0},
    {"domain", "verify_dkim", "reject, quarantine, mark or none", "that of verify", "What is done with mail for this domain of whose signatures none holds.", NULL, CONFIG_SPECIAL, false, DOMAIN_AT(verify.dkim), 0, 0},
    {"domain", "verify_dmarc", "reject, quarantine, mark or none", "that of verify", "What is done, at the most, with mail for this domain that fails DMARC.", NULL, CONFIG_SPECIAL, false, DOMAIN_AT(verify.dmarc), 0, 0},

    {"route", "to", "smtp:, smtps:, lmtp:, mx or error:", "required", "Where mail for these domains goes.", "relayhost, transport_maps", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "tls", "may, none, required, verify, dane or dane-only", "may; verify when there is a user", "How much TLS the next hop must do.", "smtp_tls_security_level, smtp_tls_policy_maps", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "user", "text", "none: no login", "The name for the login at the next hop.", "smtp_sasl_password_maps", CONFIG_TEXT, false, ROUTE_AT(user), 0, 0},
    {"route", "password", "text", "none", "The password of `user`.", "smtp_sasl_password_maps", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "password_file", "file", "none", "A file whose first line is the password of `user`.", "smtp_sasl_password_maps", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "token", "text", "none", "An OAuth token for the login as `user`.", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "token_file", "file", "none", "A file whose first line is the token.", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "mechanism", "SASL mechanism", "the best that both sides know", "The only mechanism that is used for the login.", "smtp_sasl_mechanism_filter", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "tls_certificate", "file (PEM)", "none", "The certificate that is shown to a server which asks for one.", "smtp_tls_cert_file", CONFIG_PATH, false, ROUTE_AT(tls_certificate), 0, 0},
    {"route", "tls_key", "file (PEM)", "none", "The private key of `tls_certificate`.", "smtp_tls_key_file", CONFIG_PATH, false, ROUTE_AT(tls_key), 0, 0},
    {"route", "chunking", "auto, yes or no", "auto", "Whether messages go in counted pieces (BDAT).", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "concurrency", "count", "that of sending", "Connections at a time to one destination of this route.", "transport_destination_concurrency_limit", CONFIG_COUNT, false, ROUTE_AT(concurrency), 1, 10000},
    {"route", "rate", "count/time", "that of sending", "Deliveries to one destination of this route in a time.", "transport_destination_rate_delay", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "source", "IPv4 address", "that of sending", "The local address of IPv4 connections of this route.", "smtp_bind_address", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "source6", "IPv6 address", "that of sending", "The local address of IPv6 connections of this route.", "smtp_bind_address6", CONFIG_SPECIAL, false, 0, 0, 0},
    {"route", "etrn", "networks and accounts", "nobody", "Who may ask by ETRN for the mail that waits for these domains.", "smtpd_etrn_restrictions, fast_flush_domains", CONFIG_SPECIAL, true, ROUTE_AT(etrn), 0, 0},

    {"limits", "message_size", "bytes", "50M", "The largest message taken.", "message_size_limit", CONFIG_SIZE, false, AT(message_size), 64 * KIB, 4 * GIB},
    {"limits", "recipients", "count", "1000", "Recipients of one message.", "smtpd_recipient_limit", CONFIG_COUNT, false, AT(recipients), 100, 100000},
    {"limits", "line_length", "bytes", "65536", "The longest line of a message.", "line_length_limit", CONFIG_COUNT, false, AT(line_length), 1000, 1048576},
    {"limits", "errors", "count", "20", "Refused commands after which a client is disconnected.", "smtpd_hard_error_limit", CONFIG_COUNT, false, AT(errors), 1, 1000},
    {"limits", "commands", "count", "1000", "Commands of a session without a message in between.", "smtpd_junk_command_limit", CONFIG_COUNT, false, AT(commands), 10, 1000000},
    {"limits", "received", "count", "100", "Received fields after which a message counts as looping.", "hopcount_limit", CONFIG_COUNT, false, AT(received), 10, 1000},
    {"limits", "connections", "count", "10000", "Clients connected at a time.", "default_process_limit", CONFIG_COUNT, false, AT(connections), 1, 1000000},
    {"limits", "connections_per_address", "count", "100", "Connections at a time from one IP address.", "smtpd_client_connection_count_limit", CONFIG_COUNT, false, AT(connections_per_address), 1, 1000000},
    {"limits", "command_timeout", "time", "5m", "How long a client may take for its next command.", "smtpd_timeout", CONFIG_TIME, false, AT(command_timeout), SECOND, DAY},
    {"limits", "data_timeout", "time", "5m", "How long a client may pause while it sends a message.", "smtpd_timeout", CONFIG_TIME, false, AT(data_timeout), SECOND, DAY},
    {"limits", "deliver_by_min", "time, 0 for none", "0", "The least time in which a client may want a message back when it was not delivered (DELIVERBY).", NULL, CONFIG_TIME, false, AT(deliver_by_min), 0, 30 * DAY},
    {"limits", "future_release", "time, 0 for never", "30d", "How long users may have a message held before it leaves (FUTURERELEASE).", NULL, CONFIG_TIME, false, AT(future_release), 0, 3650 * DAY},

    {"authentication", "mechanisms", "SASL mechanisms", "all but CRAM-MD5", "How users may log in; each is offered where it can work.", "smtpd_sasl_mechanism_filter", CONFIG_SPECIAL, true, AT(mechanisms), 0, 0},

    {"submission", "any_sender", "yes or no", "no", "Logged-in users may use any sender address.", "smtpd_sender_login_maps", CONFIG_BOOL, false, AT(any_sender), 0, 0},
    {"submission", "auth_in_clear", "yes or no", "no", "Logging in without TLS is allowed (laboratories only).", "smtpd_tls_auth_only", CONFIG_BOOL, false, AT(auth_in_clear), 0, 0},

    {"accounts", "from", "sqlite, passwd:FILE, pam:SERVICE, dovecot:SOCKET", "sqlite", "Where accounts come from; asked in this order.", "smtpd_sasl_type, smtpd_sasl_path", CONFIG_SPECIAL, true, AT(accounts), 0, 0},
    {"accounts", "domain", "domain name", "the only `domain`, when there is one", "The domain of names that have none.", "smtpd_sasl_local_domain", CONFIG_SPECIAL, false, AT(accounts_domain), 0, 0},
    {"accounts", "pam_name", "local or address", "local", "What PAM is asked for: the local part, or the whole address.", NULL, CONFIG_SPECIAL, false, AT(pam_address), 0, 0},
    {"accounts", "dovecot_userdb", "UNIX socket", "none", "Where Dovecot is asked which mailboxes exist.", NULL, CONFIG_PATH, false, AT(dovecot_userdb), 0, 0},
    {"accounts", "timeout", "time", "20s", "How long PAM or Dovecot may take for an answer.", NULL, CONFIG_TIME, false, AT(accounts_timeout), SECOND, 50 * SECOND},

    {"oauth", "introspection", "https: URL", "none", "The endpoint that says whether a token is good (RFC 7662).", NULL, CONFIG_SPECIAL, false, AT(oauth.introspection), 0, 0},
    {"oauth", "client_id", "text", "none", "The name of this server at the endpoint.", NULL, CONFIG_TEXT, false, AT(oauth.client_id), 0, 0},
    {"oauth", "client_secret_file", "file", "none", "A file whose first line is the secret of `client_id`.", NULL, CONFIG_PATH, false, AT(oauth.client_secret_file), 0, 0},
    {"oauth", "ca_file", "file (PEM)", "the system's", "Certificate authorities that are trusted for the endpoint.", NULL, CONFIG_PATH, false, AT(oauth.ca_file), 0, 0},
    {"oauth", "jwt_keys", "files (PEM)", "none", "Public keys of who signs tokens (RS256, ES256 and their longer kin).", NULL, CONFIG_SPECIAL, true, AT(oauth.jwt_keys), 0, 0},
    {"oauth", "jwt_secret_file", "file", "none", "A file whose first line is the secret that tokens are signed with (HS256 and its longer kin).", NULL, CONFIG_PATH, false, AT(oauth.jwt_secret_file), 0, 0},
    {"oauth", "issuer", "text", "none: any", "Who must have issued a token (`iss`).", NULL, CONFIG_TEXT, false, AT(oauth.issuer), 0, 0},
    {"oauth", "audience", "texts", "none: any", "For whom a token must be (`aud`): one of these.", NULL, CONFIG_SPECIAL, true, AT(oauth.audience), 0, 0},
    {"oauth", "scope", "words", "none: any", "What a token must allow (`scope`): all of these.", NULL, CONFIG_SPECIAL, true, AT(oauth.scopes), 0, 0},
    {"oauth", "openid_configuration", "https: URL", "none", "The issuer's discovery document, as told to clients without a good token.", NULL, CONFIG_SPECIAL, false, AT(oauth.openid_configuration), 0, 0},
    {"oauth", "claim", "name", "email", "What in a token is the name of the account.", NULL, CONFIG_NAME, false, AT(oauth.claim), 0, 0},
    {"oauth", "unknown_accounts", "yes or no", "no", "Accounts that `accounts.from` does not know may log in by a token.", NULL, CONFIG_BOOL, false, AT(oauth.unknown_accounts), 0, 0},
    {"oauth", "cache", "time, 0 for never", "5m", "How long an answer of the endpoint is believed.", NULL, CONFIG_TIME, false, AT(oauth.cache), 0, DAY},
    {"oauth", "timeout", "time", "5s", "How long the endpoint may take.", NULL, CONFIG_TIME, false, AT(oauth.timeout), 100, 50 * SECOND},

    {"srs", "domain", "domain", "none: reverse paths stay", "Mail that an alias forwards elsewhere gets a reverse path of this domain (SRS).", "SRS_DOMAIN of postsrsd", CONFIG_SPECIAL, false, AT(srs.domain), 0, 0},
    {"srs", "secret_file", "file", "<state>/srs.secret, made at the first start", "A file with a secret in each line: the first one signs, all are known.", "SRS_SECRET of postsrsd", CONFIG_PATH, false, AT(srs.secret_file), 0, 0},
    {"srs", "max_age", "time", "21d", "How long a report may come back to such an address.", NULL, CONFIG_TIME, false, AT(srs.max_age), DAY, 1000 * DAY},

    {"queue", "retry", "times", "1m 5m 15m 30m 1h", "Pauses between attempts; the last one repeats.", "minimal_backoff_time, maximal_backoff_time", CONFIG_SPECIAL, true, AT(retry), 0, 0},
    {"queue", "expire", "time", "5d", "How long delivery is tried before the message is returned.", "maximal_queue_lifetime", CONFIG_TIME, false, AT(expire), SECOND, 100 * DAY},
    {"queue", "delay_warning", "time, 0 for never", "4h", "After how long the sender is told that a message is late.", "delay_warning_time", CONFIG_TIME, false, AT(delay_warning), 0, 100 * DAY},
    {"queue", "segment_size", "bytes", "64M", "Size of one file of the queue's log.", NULL, CONFIG_SIZE, false, AT(segment_size), MIB, GIB},
    {"queue", "checkpoint_after", "bytes", "64M", "Bytes written to the log after which the queue writes down what it holds, so that the next start need not read all of the log.", NULL, CONFIG_SIZE, false, AT(checkpoint_after), 64 * KIB, 64 * GIB},
    {"queue", "minimum_free", "bytes", "64M", "Free disk space below which no mail is taken (452).", "queue_minfree", CONFIG_SIZE, false, AT(minimum_free), 0, 1024 * GIB},
    {"queue", "inline_body", "bytes", "64K", "Messages up to this size are kept in the log itself, larger ones in a file each.", NULL, CONFIG_SIZE, false, AT(inline_body), 0, MIB},

    {"sending", "concurrency", "count", "20", "Connections at a time to one destination.", "default_destination_concurrency_limit", CONFIG_COUNT, false, AT(concurrency), 1, 10000},
    {"sending", "rate", "count/time", "no limit", "Deliveries to one destination in a time.", "default_destination_rate_delay", CONFIG_SPECIAL, false, 0, 0, 0},
    {"sending", "connection_idle", "time", "5s", "How long an idle connection is kept for the next message.", "smtp_connection_cache_time_limit", CONFIG_TIME, false, AT(connection_idle), 0, 10 * MINUTE},
    {"sending", "connect_timeout", "time", "30s", "How long to wait for a connection to stand.", "smtp_connect_timeout", CONFIG_TIME, false, AT(connect_timeout), 100, 10 * MINUTE},
    {"sending", "command_timeout", "time, 0 for RFC 5321's table", "0", "How long to wait for each reply of a server.", "smtp_mail_timeout, smtp_rcpt_timeout, …", CONFIG_TIME, false, AT(command_timeout_sending), 0, DAY},
    {"sending", "mx_port", "port", "25", "The port of mail exchangers (laboratories only).", NULL, CONFIG_PORT, false, AT(mx_port), 1, 65535},
    {"sending", "source", "IPv4 address", "any", "The local address of outgoing IPv4 connections.", "smtp_bind_address", CONFIG_SPECIAL, false, 0, 0, 0},
    {"sending", "source6", "IPv6 address", "any", "The local address of outgoing IPv6 connections.", "smtp_bind_address6", CONFIG_SPECIAL, false, 0, 0, 0},
    {"sending", "dane", "yes or no", "yes", "Whether TLSA records that DNSSEC vouches for say how mail exchangers are verified (DANE).", "smtp_tls_security_level = dane", CONFIG_BOOL, false, AT(dane), 0, 0},
    {"sending", "mta_sts", "yes or no", "yes", "Whether domains' MTA-STS policies are fetched and kept to.", NULL, CONFIG_BOOL, false, AT(mta_sts), 0, 0},
    {"sending", "mta_sts_port", "port", "443", "The port of the hosts that serve MTA-STS policies (laboratories only).", NULL, CONFIG_PORT, false, AT(mta_sts_port), 1, 65535},
    {"sending", "ca_file", "file (PEM)", "the system's", "Certificate authorities that are trusted where TLS is verified.", "smtp_tls_CAfile", CONFIG_PATH, false, AT(ca_file), 0, 0},

    {"dns", "servers", "addresses", "those of /etc/resolv.conf", "DNS servers to ask: \"192.0.2.1\" or \"127.0.0.1@5353\".", NULL, CONFIG_SPECIAL, true, AT(dns_servers), 0, 0},
    {"dns", "trust_anchor", "file", "the distribution's, when it exists", "The root key for DNSSEC.", NULL, CONFIG_PATH, false, AT(trust_anchor), 0, 0},

    {"reports", "dmarc", "yes or no", "no", "Whether owners of domains are sent DMARC aggregate reports, where they ask for them (rua=).", NULL, CONFIG_BOOL, false, AT(reports.dmarc), 0, 0},
    {"reports", "failures", "yes or no", "no", "Whether owners of domains are sent DMARC failure reports, with the header of the message, where they ask for them (ruf=).", NULL, CONFIG_BOOL, false, AT(reports.failures), 0, 0},
    {"reports", "tls", "yes or no", "no", "Whether owners of domains are sent TLS reports, where they ask for them (_smtp._tls).", NULL, CONFIG_BOOL, false, AT(reports.tls), 0, 0},
    {"reports", "from", "address", "postmaster at the host name", "Whom reports come from.", NULL, CONFIG_SPECIAL, false, AT(reports.from), 0, 0},
    {"reports", "organization", "text", "the domain of `from`", "Who reports, for people.", NULL, CONFIG_TEXT, false, AT(reports.organization), 0, 0},
    {"reports", "contact", "text", "none", "How to reach a person, in DMARC reports: an address or a URL.", NULL, CONFIG_TEXT, false, AT(reports.contact), 0, 0},
    {"reports", "interval", "time", "1d", "What one report covers; a day is what all expect.", NULL, CONFIG_TIME, false, AT(reports.interval), SECOND, DAY},

    {"verify", "spf", "reject, quarantine, mark or none", "mark", "What is done with strangers' mail whose client SPF does not allow.", "policyd-spf", CONFIG_SPECIAL, false, AT(verify.spf), 0, 0},
    {"verify", "dkim", "reject, quarantine, mark or none", "mark", "What is done with strangers' mail of whose signatures none holds.", "opendkim", CONFIG_SPECIAL, false, AT(verify.dkim), 0, 0},
    {"verify", "dmarc", "reject, quarantine, mark or none", "reject", "What is done, at the most, with strangers' mail that fails DMARC: as the owner of its domain asks.", "opendmarc", CONFIG_SPECIAL, false, AT(verify.dmarc), 0, 0},
    {"verify", "dmarc_method", "tree_walk or public_suffix", "tree_walk", "How DMARC finds the organisational domain: RFC 9989's way, or RFC 7489's.", NULL, CONFIG_SPECIAL, false, AT(verify_dmarc_method), 0, 0},
    {"verify", "temperror", "later or accept", "later", "What becomes of mail that would have to be judged while the DNS does not answer.", NULL, CONFIG_SPECIAL, false, AT(verify_accepts_temperror), 0, 0},
    {"verify", "skip", "networks or none", "this machine: 127.0.0.0/8 and ::1", "Clients whose mail is not verified.", "skip_addresses", CONFIG_SPECIAL, true, AT(verify_skip), 0, 0},
    {"verify", "timeout", "time", "20s", "How long the DNS may take for each of SPF, DKIM, ARC and DMARC.", NULL, CONFIG_TIME, false, AT(verify_timeout), SECOND, 60 * SECOND},

    {"arc", "seal", "forwarded, always or never", "forwarded", "Which mail of strangers is sealed (ARC): what leaves again, all, or none.", "openarc", CONFIG_SPECIAL, false, AT(arc_seal), 0, 0},
    {"arc", "domain", "domain name", "that of hostname, or above it, which has a key", "In whose name mail is sealed: with its DKIM key.", NULL, CONFIG_SPECIAL, false, AT(arc_domain), 0, 0},
    {"arc", "trusted", "domains", "none", "Forwarders whose ARC seals are believed where DMARC fails.", NULL, CONFIG_SPECIAL, true, AT(arc_trusted), 0, 0},

    {"log", "format", "text or json", "text", "The form of the event lines on standard error.", NULL, CONFIG_SPECIAL, false, 0, 0, 0},
    {"log", "level", "debug, info, notice, warning or error", "info", "What is less important than this is not written.", "debug_peer_level", CONFIG_SPECIAL, false, 0, 0, 0},

    {"processes", "receivers", "count, 0 for one per core", "0", "Processes that receive mail.", NULL, CONFIG_COUNT, false, AT(receivers), 0, 64},
    {"processes", "senders", "count, 0 for one per core", "0", "Processes that send mail.", NULL, CONFIG_COUNT, false, AT(senders), 0, 64},
    {"processes", "user", "system user", "_veredus", "Who receivers and senders run as.", "mail_owner", CONFIG_NAME, false, AT(user), 0, 0},
    {"processes", "user_keeper", "system user", "_veredusk", "Who the keeper of accounts runs as.", NULL, CONFIG_NAME, false, AT(user_keeper), 0, 0},
    {"processes", "user_queue", "system user", "_veredusq", "Who the queue runs as.", "mail_owner", CONFIG_NAME, false, AT(user_queue), 0, 0},
};
/* clang-format on */
const size_t config_key_count = sizeof config_keys / sizeof config_keys[0];
