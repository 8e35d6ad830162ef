/* index.h - the hash of domains and routes, made once when a configuration is loaded. Internal to src/config/. */
#ifndef CONFIG_INDEX_H
#define CONFIG_INDEX_H

#include "config/config.h"

void routing_index(struct config *c);

#endif
