// rooms: ingest
/* A TCF string from any bytes: read whole or refused, and what was read is in range. */
#include "ingest/tcf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tcf tcf;
	if (tcf_read(str_of(data, size), &tcf) != OK) return 0;
	CHECK(tcf.created_us >= 0 && tcf.updated_us >= 0);
	CHECK(tcf.cmp_id < 4096 && tcf.cmp_version < 4096 && tcf.vendor_list_version < 4096);
	CHECK(tcf.purposes >> TCF_PURPOSES == 0 && tcf.legitimate >> TCF_PURPOSES == 0);
	CHECK(tcf.language[0] >= 'A' && tcf.language[0] <= 'Z' && tcf.language[2] == '\0');
	CHECK(!tcf_vendor(&tcf, 0) && !tcf_vendor_legitimate(&tcf, 0));
	return 0;
}
