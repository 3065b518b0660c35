# The test stands between the fold and these to make them fail.
target_link_options(${target} PRIVATE -Wl,--wrap=people_commit,--wrap=people_apply,--wrap=journal_release_ballast)
