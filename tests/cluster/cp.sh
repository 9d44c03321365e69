#!/bin/bash
# cp.sh start|stop : the control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, on $BIND.
# cp.sh kill-apiserver|start-apiserver : the API server alone.
set -eu
. "$(dirname "$0")/lib.sh"
BIND=${BIND:-$NIP}
export KUBECONFIG=$PKI/admin.kubeconfig
apiserver() {
  start apiserver $K/kube-apiserver --etcd-servers=http://127.0.0.1:12379 \
    --bind-address=$BIND --secure-port=16443 --advertise-address=$BIND \
    --tls-cert-file=$PKI/apiserver.crt --tls-private-key-file=$PKI/apiserver.key --client-ca-file=$PKI/ca.crt \
    --kubelet-client-certificate=$PKI/apiserver-kubelet-client.crt --kubelet-client-key=$PKI/apiserver-kubelet-client.key \
    --kubelet-certificate-authority=$PKI/ca.crt --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file=$PKI/sa.pub --service-account-signing-key-file=$PKI/sa.key \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --requestheader-client-ca-file=$PKI/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file=$PKI/front-proxy-client.crt --proxy-client-key-file=$PKI/front-proxy-client.key \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-cluster-ip-range=$SVCCIDR --allow-privileged=true
  for i in $(seq 600); do
    alive etcd || { echo "etcd died"; tail -5 $L/etcd.log; exit 1; }
    alive apiserver || { echo "apiserver died"; tail -5 $L/apiserver.log; exit 1; }
    curl -sf --cacert $PKI/ca.crt --cert $PKI/admin.crt --key $PKI/admin.key https://$BIND:16443/readyz >/dev/null 2>&1 && break; sleep 0.1; done
}
case ${1:-start} in
start)
  mkdir -p $L $PIDS; s=$(date +%s%N)
  [ -f $PKI/admin.kubeconfig ] || "$C/pki.sh" $PKI $NODE $BIND
  start etcd $ETCD --data-dir $R/etcd --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
     --listen-peer-urls http://127.0.0.1:0 --unsafe-no-fsync --log-level warn
  apiserver
  echo "readyz after $(( ($(date +%s%N)-s)/1000000 )) ms"
  start kcm $K/kube-controller-manager --kubeconfig=$PKI/kcm.kubeconfig --authentication-kubeconfig=$PKI/kcm.kubeconfig --authorization-kubeconfig=$PKI/kcm.kubeconfig \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file=$PKI/sa.key --root-ca-file=$PKI/ca.crt --cluster-signing-cert-file=$PKI/ca.crt --cluster-signing-key-file=$PKI/ca.key \
    --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range=$SVCCIDR --node-cidr-mask-size=24
  start scheduler $K/kube-scheduler --kubeconfig=$PKI/scheduler.kubeconfig --authentication-kubeconfig=$PKI/scheduler.kubeconfig --authorization-kubeconfig=$PKI/scheduler.kubeconfig \
    --bind-address=127.0.0.1 --leader-elect=false
  ;;
start-apiserver) apiserver;;
kill-apiserver) kill -9 $(cat $PIDS/apiserver); stopone apiserver;;
stop) for n in scheduler kcm apiserver etcd; do alive $n && kill -9 $(cat $PIDS/$n); stopone $n; done;;
esac
