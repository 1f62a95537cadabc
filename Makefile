# bpfleet. `make demo` and `make test` are all a fresh machine needs: both run `make setup` first.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-shell test test-unit test-kernel test-cluster test-e2e test-conformance test-kernels bench check format generate manifests build-images push-images install uninstall deploy undeploy run-on-cluster run-on-kind kind-reload-images kubectl kind images clean
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

help: ## List the targets
	@echo "usage: make TARGET [PARAMETER=VALUE]"
	@echo
	@awk -F': .*## |: ## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is needed (as root; else say how) and build the native part and the BPF objects
	@tools/setup.sh

demo: setup ## Show the product at work in a network of its own, as root; ARGS=--keep leaves it up
	@demo/run.sh $(ARGS)

demo-shell: ## A shell inside a demo that ARGS=--keep left up
	@demo/shell.sh

test: ## Run all tests, as root, the long ones where there is time; KIND=unit|kernel|cluster|e2e for one suite, FILES=part-of-a-path for some
	@tools/setup.sh test
	@node tools/test.ts $(KIND) $(FILES) $(ARGS)

test-unit: ; @$(MAKE) --no-print-directory test KIND=unit
test-kernel: ; @$(MAKE) --no-print-directory test KIND=kernel
test-cluster: ; @$(MAKE) --no-print-directory test KIND=cluster

test-e2e: ## Run the product on a whole cluster in namespaces of this machine, as root, its long tests whatever the time
	@$(MAKE) --no-print-directory test KIND=e2e

test-conformance: ## Every case of test/conformance with IPv4 and IPv6, pods routed and in a bridge, as root; of three forms test has samples
	@tools/setup.sh test
	@CONFORMANCE=all node tools/test.ts kernel test/kernel/policy-conformance.kernel.test.ts $(ARGS)

test-kernels: setup ## Run the compact tests in emulated Linux 5.10, 6.1 and 6.12, as root; not part of test, up to 40 minutes each
	@tools/kernels/test.sh $(KERNELS)

bench: ## Measure against the peers, as root; writes bench/results
	@tools/setup.sh bench
	@node bench/run.ts $(ARGS)

check: setup ## Types, format, lint, layers, generated files: everything CI checks beside the tests
	@node --run check

format: setup ## Format all sources in place
	@oxfmt

generate: setup ## Write all generated files: CRDs, reference pages, codecs of maps and messages
	@node tools/generate.ts

manifests: generate ## The same; what is applied to a cluster is written to manifests

build-images: images setup ## Build the images of BPFD_IMG, BPFD_AGENT_IMG, BPFD_OPERATOR_IMG into build/images, without a container engine
	@node tools/build-images.ts

push-images: images setup ## Build them and put them into their registries, with what docker login wrote
	@node tools/build-images.ts push

install: kubectl setup ## Apply the CRDs to the cluster of kubectl's current context
	@tools/deploy.sh install

uninstall: kubectl setup ## Delete the CRDs from that cluster, and all that was declared with them
	@tools/deploy.sh uninstall

deploy: kubectl images setup ## Apply CRDs, operator and roles to that cluster, with the images of BPFD_*_IMG, and wait for the nodes
	@tools/deploy.sh deploy

undeploy: kubectl setup ## Detach everything on every node, then delete from that cluster what deploy applied; the CRDs stay
	@tools/deploy.sh undeploy

run-on-cluster: kubectl push-images deploy ## push-images, then deploy

run-on-kind: kind kubectl images setup ## Build the images, start a kind cluster, load them into it, deploy
	@tools/deploy.sh run-on-kind

kind-reload-images: kind kubectl images setup ## Build the images anew, load them into that kind cluster, restart what runs them
	@tools/deploy.sh kind-reload-images

# Said before anything is installed or built.
kubectl kind images:
	@tools/deploy.sh need-$@

clean: ## Remove everything that was built; what was installed stays
	rm -rf build
