#!/bin/sh
# deploy.sh deploy|undeploy|install|uninstall|run-on-kind|kind-reload-images: what the Makefile does with the
# cluster of kubectl's current context. Images: BPFD_IMG, BPFD_AGENT_IMG, BPFD_OPERATOR_IMG; kind's cluster:
# KIND_CLUSTER.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
patience=${UNDEPLOY_PATIENCE:-300}
cluster=${KIND_CLUSTER:-bpfleet}
archive=build/images/bpfleet.tar

fail() {
	printf 'error: %s\n' "$1" >&2
	exit 1
}

need() {
	case $1 in
	kind) from='https://kind.sigs.k8s.io/docs/user/quick-start/#installation' ;;
	*) from=https://kubernetes.io/docs/tasks/tools/ ;;
	esac
	command -v "$1" >/dev/null || fail "find $1: not installed; get it from $from"
}

# Before anything is installed; the rest of what a name must be is said by who has Node.
need_images() {
	for variable in BPFD_IMG BPFD_AGENT_IMG BPFD_AGENT_IMAGE BPFD_OPERATOR_IMG; do
		eval "name=\${$variable-}"
		case $name in
		*[!][A-Za-z0-9._/:@-]*) fail "use $variable=\"$name\": it names no image; write host/repository:tag" ;;
		esac
	done
}

# Said once and first; kubectl says it for each object.
reach() {
	said=$(kubectl get --raw /version --request-timeout=10s 2>&1 >/dev/null </dev/null) ||
		fail "reach the cluster of kubectl's context $(kubectl config current-context 2>/dev/null || echo '(none)'): $(printf '%s' "$said" | tail -n 1 | sed 's/^error: //'); choose one with kubectl config use-context, or by KUBECONFIG"
}

render() {
	node tools/render-manifests.ts "$1"
}

apply() {
	render "$1" | kubectl apply --server-side --force-conflicts --field-manager=bpfleet-deploy -f -
}

remove() {
	render "$1" | kubectl delete --ignore-not-found -f -
}

has() {
	kubectl -n kube-system get "$1" >/dev/null 2>&1
}

operator=deployment/podconfigmap-controller
daemons=daemonset/bpfd-daemon
lease=podconfigmap-controller-lock

# CRDs that are on their way out would take with them what is declared anew.
await_gone() {
	going=$(kubectl get crd -l app.kubernetes.io/part-of=bpfleet \
		-o 'jsonpath={range .items[?(@.metadata.deletionTimestamp)]}crd/{.metadata.name} {end}')
	[ -n "$going" ] || return 0
	echo 'waiting for CRDs that are being deleted'
	has "$operator" || release
	# shellcheck disable=SC2086
	kubectl wait --for=delete --timeout=60s $going >/dev/null ||
		fail "deploy: CRDs are being deleted, and some object keeps them; see kubectl get crd -o yaml ${going%% *}"
}

await_crds() {
	render crds | kubectl wait --for=condition=Established --timeout=60s -f - >/dev/null
}

# Ends when what is declared next is served; kubectl's wait fails where a CRD is so new that it has no conditions.
install_crds() {
	apply crds
	await_crds 2>/dev/null || {
		sleep 1
		await_crds
	}
}

deploy() {
	await_gone
	install_crds
	apply rest
	kubectl -n kube-system rollout status "$operator" --timeout=180s
	# One that was asked for before and did not end would clean the nodes anew.
	kubectl -n kube-system annotate configmap bpfd-config bpfleet.io/undeploy- bpfleet.io/undeployed- >/dev/null
	echo 'waiting for the nodes'
	end=$(($(date +%s) + 120))
	until has "$daemons"; do
		[ "$(date +%s)" -lt "$end" ] ||
			fail "deploy: the operator made no DaemonSet bpfd-daemon within 120 s; see kubectl -n kube-system describe configmap bpfd-config, and kubectl -n kube-system logs deployment/podconfigmap-controller"
		sleep 1
	done
	kubectl -n kube-system rollout status "$daemons" --timeout=300s
}

# Namespace of the ConfigMap that the operator follows; none where there is none.
home_of_config() {
	for namespace in kube-system bpfd; do
		if kubectl -n "$namespace" get configmap bpfd-config >/dev/null 2>&1; then
			echo "$namespace"
			return
		fi
	done
}

# First every node detaches and removes what is in its kernel, and says so; only then goes who could clean it.
undeploy() {
	if has "$operator"; then
		home=$(home_of_config)
		if [ -n "$home" ]; then
			kubectl -n "$home" annotate configmap bpfd-config bpfleet.io/undeployed- >/dev/null
			kubectl -n "$home" annotate --overwrite configmap bpfd-config "bpfleet.io/undeploy=${patience}s" >/dev/null
		else
			# Without it there is no DaemonSet, and what is in force on the nodes stays so.
			home=kube-system
			kubectl create -f - >/dev/null <<-END
				{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bpfd-config", "namespace": "kube-system",
				  "annotations": {"bpfleet.io/undeploy": "${patience}s"}}}
			END
		fi
		echo 'cleaning the nodes'
		report=
		end=$(($(date +%s) + patience + 60))
		while [ -z "$report" ]; do
			[ "$(date +%s)" -lt "$end" ] ||
				fail "undeploy: the operator did not say within $patience s what came of the nodes; see kubectl -n kube-system logs deployment/podconfigmap-controller"
			sleep 1
			report=$(kubectl -n "$home" get configmap bpfd-config -o 'jsonpath={.metadata.annotations.bpfleet\.io/undeployed}')
		done
		echo "$report"
	else
		need_no_daemons undeploy
		echo 'no operator runs; nodes that a daemon filtered are cleaned by: ebpfctl cleanup'
	fi
	lease=$(name_of_lease)
	remove removable
	kubectl -n bpfd delete --ignore-not-found configmap bpfd-config
	remove_made
}

# They work on by what they were last told, and what they hold would stay in force when they go.
need_no_daemons() {
	! has "$daemons" ||
		fail "$1: DaemonSet bpfd-daemon is there without the operator, which alone cleans nodes; run make deploy first, then make undeploy"
}

# As the Deployment has it, else as it usually is.
name_of_lease() {
	named=$(kubectl -n kube-system get "$operator" --ignore-not-found \
		-o 'jsonpath={.spec.template.spec.containers[*].env[?(@.name=="LEADER_ELECTION_LOCK_NAME")].value}')
	echo "${named:-$lease}"
}

# What the operator made and takes away itself where it still can. Its Lease goes too: whoever leads has lost the right to
# give it back, and the next operator would wait until it has run out.
remove_made() {
	! has "$operator" && ! has "$daemons" || return 0
	kubectl -n kube-system delete --ignore-not-found lease "$lease"
	made='-l app.kubernetes.io/part-of=bpfleet,app.kubernetes.io/managed-by=bpfleet-operator --ignore-not-found'
	# shellcheck disable=SC2086
	kubectl -n kube-system delete secrets,services,configmaps $made
	# shellcheck disable=SC2086
	kubectl delete validatingwebhookconfigurations $made
}

# The operator releases what it and the agents hold. Where it is gone, nobody else would, and the CRDs would wait for
# ever.
release() {
	for plural in bpfdebpfprograms bpfprograms bpfprogramconfigs ebpfprogramconfigs; do
		kubectl get "$plural.bpfd.io" -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.finalizers[*]}{"\n"}{end}' 2>/dev/null |
			while read -r name held; do
				case " $held " in
				*' bpfd.io.operator/finalizer '* | *' bpfd.io.agent/finalizer '*) release_one "$plural.bpfd.io" "$name" ;;
				esac
			done
	done
}

# Takes ours out of the finalizers, and leaves those of others. Who else takes out his makes the API server refuse.
release_one() {
	for _ in 1 2 3 4 5; do
		held=$(kubectl get "$1" "$2" --ignore-not-found -o 'jsonpath={.metadata.finalizers[*]}' </dev/null)
		# shellcheck disable=SC2086
		patch=$(without_ours $held)
		[ -n "$patch" ] || return 0
		kubectl patch "$1" "$2" --type=json -p "$patch" </dev/null && return
		sleep 1
	done
	return 1
}

# The patch that takes ours out of these finalizers, the last first; nothing where there is none.
without_ours() {
	at=0
	steps=
	for each; do
		case $each in
		bpfd.io.operator/finalizer | bpfd.io.agent/finalizer)
			path="\"path\": \"/metadata/finalizers/$at\""
			steps="{\"op\": \"test\", $path, \"value\": \"$each\"}, {\"op\": \"remove\", $path}${steps:+, $steps}"
			;;
		esac
		at=$((at + 1))
	done
	[ -z "$steps" ] || echo "[$steps]"
}

uninstall() {
	if ! has "$operator"; then
		need_no_daemons uninstall
		release
	fi
	# The end of a CRD whose objects nobody has ever listed may be put off by minutes: "storage is (re)initializing".
	kubectl get bpfleet -A -o name >/dev/null 2>&1 || :
	remove crds
	remove_made
}

has_kind_cluster() {
	kind get clusters 2>/dev/null | grep -qx "$cluster"
}

case ${1:-} in
need-kind | need-kubectl) need "${1#need-}" ;;
need-images) need_images ;;
deploy | undeploy | uninstall)
	need kubectl
	# What is taken away has no images.
	[ "$1" = deploy ] || unset BPFD_IMG BPFD_AGENT_IMG BPFD_OPERATOR_IMG
	# What it says of itself is enough; a pipe would go on without it.
	render all >/dev/null || exit 1
	reach
	"$1"
	;;
install)
	need kubectl
	reach
	install_crds
	;;
run-on-kind)
	need kind
	need kubectl
	node tools/build-images.ts
	has_kind_cluster || kind create cluster --name "$cluster"
	kind load image-archive "$archive" --name "$cluster"
	kubectl config use-context "kind-$cluster"
	deploy
	;;
kind-reload-images)
	need kind
	need kubectl
	has_kind_cluster || fail "find kind's cluster $cluster: there is none; run: make run-on-kind"
	node tools/build-images.ts
	kind load image-archive "$archive" --name "$cluster"
	kubectl --context "kind-$cluster" -n kube-system rollout restart "$daemons" "$operator"
	;;
*)
	sed -n 2,4p "$0" >&2
	exit 2
	;;
esac
