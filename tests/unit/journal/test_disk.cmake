# The test stands between the journal and the store to take its memory away.
target_link_options(${target} PRIVATE -Wl,--wrap=store_begin)
