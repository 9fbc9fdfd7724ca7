/* SPDX-License-Identifier: Apache-2.0 */
/* version.c: which libdmem is running. */
#include "dmem/version.h"

const char *dmem_version(void)
{
	return DMEM_VERSION_STRING;
}
