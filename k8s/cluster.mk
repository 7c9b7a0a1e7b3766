# Images and a cluster: any that KUBECONFIG names, with Argo Workflows v4.1.2 in it. `make help` lists these too.
OVERLAY ?= kind
NAME ?=
WATCH ?=
SET ?=
TEMPLATE ?= study
BASE ?=
# The first that works: a docker command without its daemon does not.
BUILDER ?= $(shell for b in docker podman buildah; do $$b info >/dev/null 2>&1 && echo $$b && break; done)
COMMIT = $(shell git rev-parse HEAD 2>/dev/null)$(shell git status --porcelain 2>/dev/null | grep -q . && echo +)
lock_digest = $(shell sha256sum docker/$(1).lock | cut -c1-64)
build = $(BUILDER) build -f docker/Dockerfile --target $(1) -t undertone/$(2) --build-arg COMMIT=$(COMMIT) \
  --build-arg LOCK=$(call lock_digest,$(3)) --build-arg TORCH=$(or $(TORCH),trim) $(if $(BASE),--build-arg BASE=$(BASE)) $(BUILD_FLAGS) .
# An argument of `make submit` is a spec's name below workflows/specs, or a path.
spec_file = $(if $(wildcard $(SPEC)),$(SPEC),workflows/specs/$(SPEC).json)
in_cluster = $(RUN) -m workflows.cluster
in_supply = $(RUN) -m workflows.supply

.PHONY: images
images: $(STAMP) ## build undertone/cpu:dev, :demo (with the small model) and undertone/gpu:dev, with SBOM and provenance
	@test -n "$(BUILDER)" || { echo "error: no builder; allowed: docker, podman or buildah on the PATH" >&2; exit 2; }
	$(in_supply) ready $(if $(BASE),--base $(BASE))
	$(call build,demo,cpu:demo,cpu)
	$(call build,cpu,cpu:dev,cpu)
	$(call build,gpu,gpu:dev,gpu)
	$(in_supply) provenance undertone/cpu:demo undertone/cpu:dev undertone/gpu:dev --builder $(BUILDER) \
	  --commit "$(COMMIT)" --torch $(or $(TORCH),trim) $(if $(BASE),--base $(BASE))
	@$(BUILDER) images | grep undertone/

# pip-audit asks PyPI's advisories. Where they do not answer, it says "none found": so its JSON is read, and silence is 75.
.PHONY: audit-packages
audit-packages: $(STAMP) ## known flaws of the packages of dev.lock, by pip-audit; needs uv; exit 10 where there are any
	uvx pip-audit==2.10.1 -f json --progress-spinner off --disable-pip --require-hashes -r dev.lock | $(in_supply) advisories dev.lock

.PHONY: cluster
cluster: $(STAMP) ## set up the namespace on the cluster that KUBECONFIG names (OVERLAY=kind or gpu)
	@if [ $(OVERLAY) != kind ]; then kubectl kustomize k8s/overlays/$(OVERLAY) | $(in_supply) deployed; fi
	kubectl apply -k k8s/overlays/$(OVERLAY)
	$(in_cluster) prepare
	@if [ $(OVERLAY) = kind ]; then kubectl -n undertone rollout status deployment/store --timeout=180s || { \
	  kubectl -n undertone get pods,persistentvolumeclaims; kubectl -n undertone get events --sort-by=.lastTimestamp | tail -5; exit 1; }; fi
	@echo 'ready; next: make submit SPEC=demo, or argo submit -n undertone --watch workflows/submit/demo.yaml'

.PHONY: submit
submit: $(STAMP) ## check a spec and start it on the cluster: SPEC=demo or a path, SET="seeds=4", TEMPLATE=release
	$(in_cluster) submit --template $(TEMPLATE) --spec $(spec_file) $(foreach s,$(SET),--set $(s))

.PHONY: status
status: $(STAMP) ## how a study on the cluster stands: NAME=… (default: the newest), WATCH=1 until it ends
	$(in_cluster) status $(NAME) $(if $(WATCH),--watch)

.PHONY: fetch-report
fetch-report: $(STAMP) ## download the sealed report of a study on the cluster: NAME=…
	$(in_cluster) fetch-report $(NAME)

.PHONY: test-cluster
test-cluster: $(STAMP) ## the tests that need the cluster that KUBECONFIG names, and the images loaded in it; an hour
	$(RUN) -m pytest -m cluster tests/cluster -v
