# The test counts what is synced.
target_link_options(${target} PRIVATE -Wl,--wrap=fsync)
