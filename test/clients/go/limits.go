package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How many calls of each kind are made, and how many of them the tenant may make. The test compares this with the
// proxy's counters, so that a client that tries again by itself is noticed.
const before, atOnce, after, allowed = 6, 25, 5, 10

// Limits of tenants, against a store with one proxy, where rates are too low to add anything while this runs.
func limits(ctx context.Context, _, _ *clientv3.Client) {
	client := connect(os.Getenv("LIMITED"), "", "")
	defer client.Close()
	limitedPuts(ctx, client)
	limitedRanges(ctx, client)
	limitedTransactions(ctx, client)
	limitedWatches(ctx, client)
	limitedLocks(ctx, client)
	limitedForNow(ctx, client)
}

// A tenant's name, which is also where its keys are.
func tenant(kind string) string { return os.Getenv("TENANTS") + "-" + kind }
func below(kind, key string) string {
	return "/" + tenant(kind) + "/" + key
}

func isAbove(err error, kind, limit string) {
	assert(status.Code(err) == codes.ResourceExhausted, "%s: %v", kind, err)
	tells(status.Convert(err).Message(), kind, limit)
}

func tells(text, kind, limit string) {
	begins := strings.Contains(text, fmt.Sprintf("etcd-braid: tenant %q is above its limit of ", tenant(kind)))
	assert(begins && strings.Contains(text, "("+limit+")"), "%s: %s", kind, text)
}

// Makes the calls: some one by one, many at once, and more one by one, which are all refused.
func exhaust(kind, limit string, call func(number int) error) {
	for i := 0; i < before; i++ {
		check(call(i))
	}
	refusals := inParallel(atOnce, func(i int) error { return call(before + i) })
	assert(len(refusals) == before+atOnce-allowed, "%s: %d refused of %d at once", kind, len(refusals), atOnce)
	for _, err := range refusals {
		isAbove(err, kind, limit)
	}
	for i := 0; i < after; i++ {
		isAbove(call(before+atOnce+i), kind, limit)
	}
}

// The errors of calls that are made all at once.
func inParallel(count int, call func(number int) error) []error {
	results := make([]error, count)
	var group sync.WaitGroup
	for i := range results {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			defer func() {
				if broken, ok := recover().(failure); ok {
					results[i] = broken
				}
			}()
			results[i] = call(i)
		}(i)
	}
	group.Wait()
	var failed []error
	for _, err := range results {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

func limitedPuts(ctx context.Context, client *clientv3.Client) {
	exhaust("puts", "putsPerSecond", func(i int) error {
		_, err := client.Put(ctx, below("puts", fmt.Sprint(i)), "v")
		return err
	})
	_, err := client.Delete(ctx, below("puts", ""), clientv3.WithPrefix())
	isAbove(err, "puts", "putsPerSecond")
	stored := must(client.Get(ctx, below("puts", ""), clientv3.WithPrefix()))
	assert(stored.Count == allowed, "%d keys: what was refused is not carried out", stored.Count)
	for _, kv := range stored.Kvs {
		assert(kv.Version == 1, "%s was put %d times", kv.Key, kv.Version)
	}
	isFree(ctx, client)
}

func limitedRanges(ctx context.Context, client *clientv3.Client) {
	exhaust("ranges", "rangesPerSecond", func(int) error {
		_, err := client.Get(ctx, below("ranges", ""), clientv3.WithPrefix())
		return err
	})
	must(client.Put(ctx, below("ranges", "key"), "it has no limit on puts"))
	isFree(ctx, client)
}

func limitedTransactions(ctx context.Context, client *clientv3.Client) {
	exhaust("transactions", "transactionsPerSecond", func(i int) error {
		key := below("transactions", fmt.Sprint(i))
		_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, "v")).Commit()
		return err
	})
	count := must(client.Get(ctx, below("transactions", ""), clientv3.WithPrefix(), clientv3.WithCountOnly())).Count
	assert(count == allowed, "%d keys: what was refused is not carried out", count)
	isFree(ctx, client)
}

// Keys of no tenant.
func isFree(ctx context.Context, client *clientv3.Client) {
	key := below("free", "key")
	must(client.Put(ctx, key, "v"))
	must(client.Get(ctx, key))
	must(client.Txn(ctx).Then(clientv3.OpPut(key, "w")).Commit())
}

// Opens a watch; the error is why it was refused.
func open(ctx context.Context, client *clientv3.Client, key string) (clientv3.WatchChan, error) {
	events := client.Watch(ctx, key, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	first, isOpen := <-events
	assert(isOpen, "the watch on %s ended without a word", key)
	if err := first.Err(); err != nil {
		assert(first.Canceled, "refused, not canceled: %v", first)
		_, isOpen = <-events
		assert(!isOpen, "more after the refusal")
		return nil, err
	}
	assert(first.Created, "created: %v", first)
	return events, nil
}

// All watches share one stream: those that are refused must not harm the others.
func limitedWatches(ctx context.Context, client *clientv3.Client) {
	const places, tried = 3, 12
	free := must(open(ctx, client, below("free", "watched")))
	events := make([]clientv3.WatchChan, tried)
	refusals := inParallel(tried, func(i int) (err error) {
		events[i], err = open(ctx, client, below("watches", fmt.Sprintf("%02d", i)))
		return err
	})
	assert(len(refusals) == tried-places, "%d of %d watches refused", len(refusals), tried)
	for i := 0; i < 2; i++ {
		_, err := open(ctx, client, below("watches", "later"))
		refusals = append(refusals, err)
	}
	for _, err := range refusals {
		assert(err != nil, "one too many")
		tells(err.Error(), "watches", "watches")
		assert(strings.HasPrefix(err.Error(), "rpc error: code = ResourceExhausted desc = "), "%v", err)
	}
	for i, each := range events {
		if each == nil {
			continue
		}
		key := below("watches", fmt.Sprintf("%02d", i))
		revision := must(client.Put(ctx, key, "v")).Header.Revision
		compare([]string{fmt.Sprintf("%d put %s v ()", revision, key)}, take(each, 1))
	}
	key := below("free", "watched")
	revision := must(client.Put(ctx, key, "v")).Header.Revision
	compare([]string{fmt.Sprintf("%d put %s v ()", revision, key)}, take(free, 1))
}

// A lock that another one holds is waited for with a watch: above the limit, Lock fails and does not hang.
func limitedLocks(ctx context.Context, client *clientv3.Client) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	must(open(watching, client, below("locks", "occupied")))
	first, second := must(concurrency.NewSession(client)), must(concurrency.NewSession(client))
	defer first.Close()
	defer second.Close()
	held, wanted := concurrency.NewMutex(first, below("locks", "lock")), concurrency.NewMutex(second, below("locks", "lock"))
	check(held.Lock(ctx))
	err := wanted.Lock(ctx)
	assert(err != nil, "both have the lock")
	tells(err.Error(), "locks", "watches")
	waiting := must(client.Get(ctx, below("locks", "lock"), clientv3.WithPrefix(), clientv3.WithCountOnly())).Count
	assert(waiting == 1, "%d keys: who does not wait is not in line", waiting)

	stop()
	for { // until the proxy knows that the watch has ended
		again, leave := context.WithCancel(ctx)
		_, err := open(again, client, below("locks", "occupied"))
		leave()
		if err == nil {
			break
		}
		tells(err.Error(), "locks", "watches")
	}
	check(held.Unlock(ctx))
	check(wanted.Lock(ctx))
}

// The error says when to try again.
func limitedForNow(ctx context.Context, client *clientv3.Client) {
	put := func() error {
		_, err := client.Put(ctx, below("soon", "key"), "v")
		return err
	}
	for round := 0; round < 2; round++ {
		err := put()
		for err == nil {
			err = put()
		}
		isAbove(err, "soon", "putsPerSecond")
		told := regexp.MustCompile(`; try again in (\d+) ms$`).FindStringSubmatch(status.Convert(err).Message())
		assert(told != nil, "not told when: %v", err)
		time.Sleep(time.Duration(must(strconv.Atoi(told[1]))) * time.Millisecond)
		check(put())
	}
}
