package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

func watchAll(ctx context.Context, one, two *clientv3.Client) {
	keys := spread("watch")
	from := must(one.Put(ctx, keys[0], "before")).Header.Revision + 1
	live := two.Watch(ctx, "/registry/go-watch", clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV())
	var expected []string
	last := map[string]string{keys[0]: "before"}
	for round := 0; round < 3; round++ {
		for _, key := range keys {
			value := fmt.Sprintf("%s %d", key, round)
			revision := must(one.Put(ctx, key, value)).Header.Revision
			expected = append(expected, fmt.Sprintf("%d put %s %s (%s)", revision, key, value, last[key]))
			last[key] = value
		}
	}
	gone := must(one.Delete(ctx, keys[4])).Header.Revision
	expected = append(expected, fmt.Sprintf("%d delete %s  (%s)", gone, keys[4], last[keys[4]]))
	compare(expected, take(live, len(expected)))
	// The same again, from the past and at the other proxy.
	past := one.Watch(ctx, "/registry/go-watch", clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV(),
		clientv3.WithFragment())
	compare(expected, take(past, len(expected)))
	deletes := one.Watch(ctx, "/registry/go-watch", clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV(),
		clientv3.WithFilterPut())
	compare(expected[len(expected)-1:], take(deletes, 1))
}

func compare(expected, actual []string) {
	for i, line := range expected {
		assert(actual[i] == line, "event %d is %q, expected %q", i, actual[i], line)
	}
}

// The next `count` events, whose headers never go back.
func take(events clientv3.WatchChan, count int) []string {
	var lines []string
	var header int64
	for len(lines) < count {
		answer, open := <-events
		assert(open, "the watch ended after %d of %d events", len(lines), count)
		check(answer.Err())
		assert(answer.Header.Revision >= header, "header %d after %d", answer.Header.Revision, header)
		header = answer.Header.Revision
		for _, event := range answer.Events {
			assert(event.Kv.ModRevision <= header, "event %d under header %d", event.Kv.ModRevision, header)
			lines = append(lines, describe(event))
		}
	}
	return lines
}

func progress(ctx context.Context, one, two *clientv3.Client) {
	created := two.Watch(ctx, "/registry/go-progress", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	answer := <-created
	assert(answer.Created, "created: %v", answer)
	newest := must(one.Put(ctx, "/registry/go-elsewhere/key", "x")).Header.Revision
	for { // as the apiserver does: asks until the header has reached what it knows of
		check(two.RequestProgress(ctx))
		answer, open := <-created
		assert(open, "the watch ended")
		check(answer.Err())
		assert(answer.IsProgressNotify(), "progress: %v", answer)
		if answer.Header.Revision >= newest {
			return
		}
	}
}

// Many calls and many streams on few connections.
func manyStreams(ctx context.Context, one, two *clientv3.Client) {
	const workers, rounds, watchers = 256, 4, 64
	from := must(one.Put(ctx, "/registry/go-many", "x")).Header.Revision + 1
	var group sync.WaitGroup
	failures := make(chan error, workers+watchers)
	run := func(what func()) {
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() {
				if broken, ok := recover().(failure); ok {
					failures <- broken
				}
			}()
			what()
		}()
	}
	for i := 0; i < watchers; i++ {
		// Metadata of its own gives each watch a stream of its own.
		alone := metadata.AppendToOutgoingContext(ctx, "stream", fmt.Sprint(i))
		key := fmt.Sprintf("/registry/go-many%d/", i)
		run(func() {
			stream, cancel := context.WithCancel(alone)
			defer cancel()
			take(two.Watch(stream, key, clientv3.WithPrefix(), clientv3.WithRev(from)), workers/watchers*rounds)
		})
	}
	for i := 0; i < workers; i++ {
		i := i
		run(func() {
			key := fmt.Sprintf("/registry/go-many%d/%d", i%watchers, i)
			for round := 0; round < rounds; round++ {
				put := must(one.Put(ctx, key, fmt.Sprint(round)))
				got := must(two.Get(ctx, key))
				assert(got.Kvs[0].ModRevision == put.Header.Revision, "%s at %v after %v", key, got.Kvs, put.Header)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		group.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(patience):
		assert(false, "not done in %s", patience)
	}
	select {
	case err := <-failures:
		check(err)
	default:
	}
	count := must(two.Get(ctx, "/registry/go-many", clientv3.WithPrefix(), clientv3.WithCountOnly())).Count
	assert(count == workers+1, "%d keys", count)
}

// Answers far beyond gRPC's usual 4 MiB, and beyond every window of HTTP/2.
func large(ctx context.Context, one, two *clientv3.Client) {
	const count, size = 12, 1 << 20
	from := must(one.Put(ctx, "/registry/go-large", "x")).Header.Revision + 1
	for i := 0; i < count; i++ {
		must(one.Put(ctx, fmt.Sprintf("/registry/go-large%d/key", i), strings.Repeat(string(rune('a'+i)), size)))
	}
	all := must(two.Get(ctx, "/registry/go-large", clientv3.WithPrefix()))
	bytes := 0
	for _, kv := range all.Kvs {
		bytes += len(kv.Value)
	}
	assert(bytes == count*size+1, "%d bytes of %d keys", bytes, len(all.Kvs))
	for _, options := range [][]clientv3.OpOption{{}, {clientv3.WithFragment()}} {
		stream, cancel := context.WithCancel(ctx)
		options = append(options, clientv3.WithPrefix(), clientv3.WithRev(from))
		for i, line := range take(one.Watch(stream, "/registry/go-large", options...), count) {
			value := strings.Repeat(string(rune('a'+i)), size)
			assert(strings.HasSuffix(line, fmt.Sprintf("put /registry/go-large%d/key %s ()", i, value)), "event %d is another", i)
		}
		cancel()
	}
	must(one.Delete(ctx, "/registry/go-large", clientv3.WithPrefix()))
}
