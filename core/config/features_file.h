/* features_file: the file that features_file names: a map with a list `features`, read as if it stood in the configuration. */
#pragma once

#include "config/schema.h"

/* Appends its features to the draft's. Complaints carry the file's own name. */
void read_features_file(struct reading *reading, const char *config_path, struct draft *draft);
