package main

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func putGetDelete(ctx context.Context, one, two *clientv3.Client) {
	keys := spread("put")
	var first, last int64
	for i, key := range keys {
		put := must(one.Put(ctx, key, fmt.Sprint(9-i)))
		assert(put.Header.Revision > last, "revision %d follows %d", put.Header.Revision, last)
		last = put.Header.Revision
		if i == 0 {
			first = last
		}
		get := must(two.Get(ctx, key))
		assert(get.Count == 1 && get.Kvs[0].ModRevision == last, "%s at %v, put at %d", key, get.Kvs, last)
	}
	all := must(two.Get(ctx, "/registry/go-put", clientv3.WithPrefix()))
	assert(all.Count == 9 && string(all.Kvs[8].Key) == keys[8], "all: %v", all.Kvs)
	least := must(two.Get(ctx, "/registry/go-put", clientv3.WithPrefix(), clientv3.WithLimit(2),
		clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)))
	assert(least.Count == 9 && least.More && string(least.Kvs[0].Key) == keys[8], "by value: %v", least.Kvs)
	newest := must(two.Get(ctx, "/registry/go-put", clientv3.WithLastRev()...))
	assert(string(newest.Kvs[0].Key) == keys[8] && newest.Kvs[0].ModRevision == last, "newest: %v", newest.Kvs)
	old := must(two.Get(ctx, "/registry/go-put", clientv3.WithPrefix(), clientv3.WithRev(first)))
	assert(old.Count == 1 && string(old.Kvs[0].Key) == keys[0], "at %d: %v", first, old.Kvs)
	serializable := must(two.Get(ctx, keys[3], clientv3.WithSerializable()))
	assert(string(serializable.Kvs[0].Value) == "6", "serializable: %v", serializable.Kvs)

	large := bytes.Repeat([]byte("x"), 1<<20)
	must(one.Put(ctx, keys[0], string(large)))
	assert(bytes.Equal(must(two.Get(ctx, keys[0])).Kvs[0].Value, large), "a value of 1 MiB comes back")
	_, err := one.Put(ctx, keys[0], string(large)+string(large[:600<<10]))
	assert(err == rpctypes.ErrRequestTooLarge, "1.6 MiB: %v", err)
	_, err = one.Put(ctx, keys[0], string(bytes.Repeat(large, 3)))
	assert(status.Code(err) == codes.ResourceExhausted, "3 MiB: %v", err)
	_, err = one.Put(ctx, "", "x")
	assert(err == rpctypes.ErrEmptyKey, "no key: %v", err)
	_, err = one.Get(ctx, keys[0], clientv3.WithRev(1<<40))
	assert(err == rpctypes.ErrFutureRev, "future: %v", err)

	gone := must(one.Delete(ctx, "/registry/go-put", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	assert(gone.Deleted == 9 && len(gone.PrevKvs) == 9, "deleted %d, %d before", gone.Deleted, len(gone.PrevKvs))
	assert(must(two.Get(ctx, "/registry/go-put", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 0, "all gone")
}

func transactions(ctx context.Context, one, two *clientv3.Client) {
	absent := func(c *clientv3.Client, key, value string) *clientv3.TxnResponse {
		return must(c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, value), clientv3.OpGet("/go/txn/", clientv3.WithPrefix())).
			Else(clientv3.OpGet(key)).Commit())
	}
	made := absent(one, "/go/txn/a", "1")
	assert(made.Succeeded, "first")
	put, list := made.Responses[0].GetResponsePut(), made.Responses[1].GetResponseRange()
	assert(put.Header.Revision == made.Header.Revision && list.Count == 1, "%v", made)
	assert(list.Kvs[0].ModRevision == made.Header.Revision, "its own put: %v of %v", list.Kvs, made.Header)
	refused := absent(two, "/go/txn/a", "2")
	assert(!refused.Succeeded, "second")
	found := refused.Responses[0].GetResponseRange().Kvs[0]
	assert(string(found.Value) == "1" && found.ModRevision == made.Header.Revision, "found %v", found)

	// What a Kubernetes apiserver does to change an object.
	swapped := must(two.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("/go/txn/a"), "=", found.ModRevision)).
		Then(clientv3.OpPut("/go/txn/a", "3")).Else(clientv3.OpGet("/go/txn/a")).Commit())
	assert(swapped.Succeeded, "swap")

	// A transaction in a transaction, and comparing every key of a directory.
	nested := must(one.Txn(ctx).If(clientv3.Compare(clientv3.Value("/go/txn/"), "=", "3").WithPrefix()).
		Then(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Version("/go/txn/a"), "=", 2)},
			[]clientv3.Op{clientv3.OpPut("/go/txn/b", "inner")}, nil)).Commit())
	assert(nested.Succeeded && nested.Responses[0].GetResponseTxn().Succeeded, "nested %v", nested)
	assert(string(must(two.Get(ctx, "/go/txn/b")).Kvs[0].Value) == "inner", "written inside")

	// Many prefixes at one revision, as confd reads.
	keys := spread("read")
	var ops, puts []clientv3.Op
	for _, key := range keys {
		must(one.Put(ctx, key, "v"))
		ops = append(ops, clientv3.OpGet(key, clientv3.WithPrefix()))
		puts = append(puts, clientv3.OpPut(key, "w"))
	}
	read := must(two.Txn(ctx).Then(ops...).Commit())
	for i, op := range read.Responses {
		assert(string(op.GetResponseRange().Kvs[0].Key) == keys[i], "read %d: %v", i, op)
	}
	_, err := one.Txn(ctx).Then(puts...).Commit()
	assert(status.Code(err) == codes.InvalidArgument || isCode(err, codes.InvalidArgument), "several shards: %v", err)
	assert(must(two.Get(ctx, keys[0])).Kvs[0].Version == 1, "nothing of it is written")
}

func isCode(err error, code codes.Code) bool {
	known, ok := err.(rpctypes.EtcdError)
	return ok && known.Code() == code
}

func compacted(ctx context.Context, one, two *clientv3.Client) {
	first := must(one.Put(ctx, "/registry/go-compacted0/a", "1")).Header.Revision
	must(one.Put(ctx, "/registry/go-compacted1/a", "1"))
	last := must(one.Put(ctx, "/registry/go-compacted0/a", "2")).Header.Revision
	must(one.Compact(ctx, last))
	_, err := two.Get(ctx, "/registry/go-compacted0/a", clientv3.WithRev(first))
	assert(err == rpctypes.ErrCompacted, "get: %v", err)
	_, err = two.Compact(ctx, first)
	assert(err == rpctypes.ErrCompacted, "compact: %v", err)
	got := must(two.Get(ctx, "/registry/go-compacted", clientv3.WithPrefix(), clientv3.WithRev(last)))
	assert(got.Count == 2, "at the compacted revision: %v", got.Kvs)
	answer := <-two.Watch(ctx, "/registry/go-compacted", clientv3.WithPrefix(), clientv3.WithRev(first))
	assert(answer.Err() == rpctypes.ErrCompacted && answer.CompactRevision == last, "watch: %v", answer)
}

// One line for one event.
func describe(event *clientv3.Event) string {
	before := ""
	if event.PrevKv != nil {
		before = string(event.PrevKv.Value)
	}
	kind := "put"
	if event.Type == mvccpb.DELETE {
		kind = "delete"
	}
	return fmt.Sprintf("%d %s %s %s (%s)", event.Kv.ModRevision, kind, event.Kv.Key, event.Kv.Value, before)
}
