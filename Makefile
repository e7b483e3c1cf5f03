# The front door; CMake does the work. `make test` and `make demo` install what is missing.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
PACKAGES = cmake/install-packages.sh

.PHONY: build demo test test-all test-asan test-tsan bench format install clean

build:
	$(PACKAGES) build
	cmake --preset release -DUNDERSTUDY_TESTS=OFF
	cmake --build --preset release -- -j$(JOBS)

demo:
	$(PACKAGES) server
	$(MAKE) --no-print-directory build
	build/release/understudy demo

test:
	tests/run.sh quick

test-all:
	tests/run.sh all

test-asan test-tsan:
	tests/run.sh $(@:test-%=%)

bench:
	$(PACKAGES) build server
	bench/run.sh

format:
	$(PACKAGES) dev
	git ls-files '*.h' '*.cc' | xargs clang-format -i

install: build
	cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build understudy-out
