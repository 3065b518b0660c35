/* profile_service: the methods of ProfileService that stand in files of their own. */
#pragma once

#include "rpc/convert.h"
#include "rpc/task.h"

/* act_service.c */
void merge_profiles(struct grpc_call *call, struct str bytes);
void unmerge_profiles(struct grpc_call *call, struct str bytes);
/* erase_service.c */
void erase_profile(struct grpc_call *call, struct str bytes);
