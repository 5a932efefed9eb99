package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func leases(ctx context.Context, one, two *clientv3.Client) {
	lease := must(one.Grant(ctx, 6))
	keys := spread("lease")
	for _, key := range keys {
		must(two.Put(ctx, key, "v", clientv3.WithLease(lease.ID)))
	}
	alive := must(two.KeepAlive(ctx, lease.ID))
	assert((<-alive).TTL == 6, "kept alive")
	left := must(two.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	assert(left.GrantedTTL == 6 && left.TTL > 0 && len(left.Keys) == len(keys), "time to live: %v", left)
	assert(len(must(one.Leases(ctx)).Leases) > 0, "listed")
	assert(must(one.Get(ctx, keys[5])).Kvs[0].Lease == int64(lease.ID), "the key tells its lease")
	must(one.Revoke(ctx, lease.ID))
	assert(must(two.Get(ctx, "/registry/go-lease", clientv3.WithPrefix())).Count == 0, "revoked with its keys")
	for range alive { // ends, as the lease is gone
	}
	_, err := one.Revoke(ctx, lease.ID)
	assert(err == rpctypes.ErrLeaseNotFound, "again: %v", err)
	_, err = two.Put(ctx, keys[0], "v", clientv3.WithLease(lease.ID))
	assert(err == rpctypes.ErrLeaseNotFound, "put: %v", err)

	short := must(two.Grant(ctx, 1))
	revision := int64(0)
	for _, key := range keys {
		revision = must(one.Put(ctx, key, "v", clientv3.WithLease(short.ID))).Header.Revision
	}
	seen := 0
	for answer := range one.Watch(ctx, "/registry/go-lease", clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		check(answer.Err())
		if seen += len(answer.Events); seen == len(keys) {
			break
		}
	}
	assert(seen == len(keys), "%d keys expired", seen)
}

func locks(ctx context.Context, one, two *clientv3.Client) {
	const contenders, rounds = 6, 3
	var group sync.WaitGroup
	failures := make(chan error, contenders)
	counter := 0 // guarded by the lock alone
	for i := 0; i < contenders; i++ {
		client := []*clientv3.Client{one, two}[i%2]
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() {
				if broken, ok := recover().(failure); ok {
					failures <- broken
				}
			}()
			session := must(concurrency.NewSession(client, concurrency.WithTTL(30)))
			defer session.Close()
			mutex := concurrency.NewMutex(session, "/go/locks/one")
			for round := 0; round < rounds; round++ {
				check(mutex.Lock(ctx))
				before := counter
				held := must(client.Txn(ctx).If(mutex.IsOwner()).Then(clientv3.OpGet(mutex.Key())).Commit())
				assert(held.Succeeded, "the lock is held")
				counter = before + 1
				check(mutex.Unlock(ctx))
			}
		}()
	}
	group.Wait()
	select {
	case err := <-failures:
		check(err)
	default:
	}
	assert(counter == contenders*rounds, "%d of %d rounds counted", counter, contenders*rounds)

	first := must(concurrency.NewSession(one))
	defer first.Close()
	second := must(concurrency.NewSession(two))
	defer second.Close()
	held := concurrency.NewMutex(first, "/go/locks/two")
	check(held.TryLock(ctx))
	wanted := concurrency.NewMutex(second, "/go/locks/two")
	assert(wanted.TryLock(ctx) == concurrency.ErrLocked, "held by another")
	check(first.Close()) // its lease goes, and the lock with it
	check(wanted.Lock(ctx))
}

func election(ctx context.Context, one, two *clientv3.Client) {
	first := must(concurrency.NewSession(one, concurrency.WithTTL(30)))
	defer first.Close()
	second := must(concurrency.NewSession(two, concurrency.WithTTL(30)))
	defer second.Close()
	alpha := concurrency.NewElection(first, "/go/election")
	beta := concurrency.NewElection(second, "/go/election")
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := beta.Observe(watching)
	next := func(expected string) {
		for answer := range seen { // an observer may see one leader more than once
			if string(answer.Kvs[0].Value) == expected {
				return
			}
		}
		assert(false, "%s is never seen", expected)
	}
	check(alpha.Campaign(ctx, "alpha"))
	next("alpha")
	check(alpha.Proclaim(ctx, "alpha again"))
	next("alpha again")
	elected := make(chan error, 1)
	go func() { elected <- beta.Campaign(ctx, "beta") }()
	for { // until the second one is in line
		if must(one.Get(ctx, "/go/election/", clientv3.WithPrefix())).Count == 2 {
			break
		}
	}
	select {
	case err := <-elected:
		assert(false, "two leaders (%v)", err)
	default:
	}
	check(alpha.Resign(ctx))
	check(<-elected)
	next("beta")
	assert(string(must(alpha.Leader(ctx)).Kvs[0].Value) == "beta", "the leader")
	check(beta.Resign(ctx))
	_, err := alpha.Leader(ctx)
	assert(err == concurrency.ErrElectionNoLeader, "no leader: %v", err)
}

// Software transactional memory: money moves between accounts and is never lost.
func stm(ctx context.Context, one, two *clientv3.Client) {
	const accounts, movers, rounds = 4, 4, 8
	account := func(i int) string { return fmt.Sprintf("/go/accounts/%d", i%accounts) }
	for i := 0; i < accounts; i++ {
		must(one.Put(ctx, account(i), "100"))
	}
	failures := make(chan error, movers)
	for mover := 0; mover < movers; mover++ {
		mover, client := mover, []*clientv3.Client{one, two}[mover%2]
		go func() {
			for round := 0; round < rounds; round++ {
				from, to := account(mover+round), account(mover+round+1+round%(accounts-1))
				if _, err := concurrency.NewSTM(client, func(memory concurrency.STM) error {
					has, _ := strconv.Atoi(memory.Get(from))
					gets, _ := strconv.Atoi(memory.Get(to))
					memory.Put(from, fmt.Sprint(has-1))
					memory.Put(to, fmt.Sprint(gets+1))
					return nil
				}, concurrency.WithIsolation(concurrency.Serializable), concurrency.WithAbortContext(ctx)); err != nil {
					failures <- err
					return
				}
			}
			failures <- nil
		}()
	}
	for mover := 0; mover < movers; mover++ {
		check(<-failures)
	}
	sum := 0
	for _, kv := range must(two.Get(ctx, "/go/accounts/", clientv3.WithPrefix())).Kvs {
		sum += must(strconv.Atoi(string(kv.Value)))
	}
	assert(sum == accounts*100, "%d of %d are left", sum, accounts*100)
}

func cluster(ctx context.Context, one, two *clientv3.Client) {
	endpoint := one.Endpoints()[0]
	members := must(one.MemberList(ctx))
	status := must(one.Status(ctx, endpoint))
	assert(status.Header.ClusterId == members.Header.ClusterId, "one cluster id")
	assert(must(two.MemberList(ctx)).Header.ClusterId == members.Header.ClusterId, "one cluster id at both proxies")
	assert(strings.HasPrefix(status.Version, "3.") && status.DbSize > 0 && status.Leader != 0, "status: %v", status)
	check(one.Sync(ctx)) // dials what the member list tells
	for _, synced := range one.Endpoints() {
		assert(strings.HasSuffix(synced, endpoint), "%s is not the proxy %s", synced, endpoint)
	}
	must(one.Put(ctx, "/go/synced", "v"))
	assert(len(must(one.AlarmList(ctx)).Alarms) == 0, "no alarms")
}

func auth(ctx context.Context, _, _ *clientv3.Client) {
	endpoints := strings.Split(os.Getenv("GUARDED"), ",")
	name, password, _ := strings.Cut(os.Getenv("ROOT"), ":")
	root := connect(endpoints[0], name, password)
	defer root.Close()
	must(root.UserAdd(ctx, "gopher", "secret"))
	must(root.RoleAdd(ctx, "go"))
	must(root.RoleGrantPermission(ctx, "go", "/registry/go-", clientv3.GetPrefixRangeEnd("/registry/go-"),
		clientv3.PermissionType(clientv3.PermReadWrite)))
	must(root.UserGrantRole(ctx, "gopher", "go"))
	assert(len(must(root.RoleGet(ctx, "go")).Perm) == 1, "the role's permission")

	user := connect(endpoints[len(endpoints)-1], "gopher", "secret")
	defer user.Close()
	keys := spread("auth")
	events := user.Watch(ctx, "/registry/go-auth", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	assert((<-events).Created, "watch made")
	for _, key := range keys {
		must(user.Put(ctx, key, "v"))
	}
	take(events, len(keys))
	assert(must(user.Get(ctx, "/registry/go-auth", clientv3.WithPrefix())).Count == int64(len(keys)), "all read")
	session := must(concurrency.NewSession(user))
	defer session.Close()
	mutex := concurrency.NewMutex(session, "/registry/go-lock")
	check(mutex.Lock(ctx))
	check(mutex.Unlock(ctx))

	_, err := user.Put(ctx, "/other", "v")
	assert(err == rpctypes.ErrPermissionDenied, "put elsewhere: %v", err)
	_, err = user.Get(ctx, "", clientv3.WithFromKey())
	assert(err == rpctypes.ErrPermissionDenied, "get everything: %v", err)
	denied := <-user.Watch(ctx, "/", clientv3.WithPrefix())
	assert(denied.Err() != nil && denied.Canceled, "watch everything: %v", denied)
	_, err = user.UserList(ctx)
	assert(err == rpctypes.ErrPermissionDenied, "users: %v", err)
	nobody := connect(endpoints[0], "", "")
	defer nobody.Close()
	_, err = nobody.Get(ctx, keys[0])
	assert(err == rpctypes.ErrUserEmpty, "nobody: %v", err)
	_, err = nobody.Authenticate(ctx, "gopher", "wrong")
	assert(err == rpctypes.ErrAuthFailed, "wrong password: %v", err)

	must(root.UserDelete(ctx, "gopher"))
	must(root.RoleDelete(ctx, "go"))
}
