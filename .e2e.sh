export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
export VEREDUS=build-asan/src/veredus VEREDUS_RELEASE=build-asan/src/veredus VEREDUS_TRANSCRIPTS=build-asan/tests/transcripts/run_transcript VEREDUS_CONFORMANCE=/work/shared/conformance
export CC="ccache gcc" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
