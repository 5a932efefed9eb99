// What a Go program does with clientv3, against a store of several shards: every scenario through two proxies.
// Prints "ok NAME" for each scenario that holds and ends with 1 when one does not. Arguments choose scenarios.
//
// Environment: ENDPOINTS and GUARDED, `host:port,host:port` of the proxies of an open store and of one with
// authentication on; ROOT, `name:password` of the guarded store's root; LIMITED, the proxy of a store with tenants, and TENANTS,
// how the names of those begin that are for this program.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// How long one scenario may take; two busy cores are shared with much else.
const patience = 60 * time.Second

type scenario struct {
	name string
	run  func(ctx context.Context, one, two *clientv3.Client)
}

var scenarios = []scenario{
	{"put", putGetDelete},
	{"txn", transactions},
	{"watch", watchAll},
	{"progress", progress},
	{"compacted", compacted},
	{"lease", leases},
	{"lock", locks},
	{"election", election},
	{"stm", stm},
	{"cluster", cluster},
	{"many", manyStreams},
	{"large", large},
	{"limits", limits},
	{"auth", auth},
}

func main() {
	endpoints := strings.Split(os.Getenv("ENDPOINTS"), ",")
	failed := false
	clear(endpoints[0])
	for _, s := range scenarios {
		if len(os.Args) > 1 && !strings.Contains(strings.Join(os.Args[1:], " "), s.name) {
			continue
		}
		began := time.Now()
		if err := try(s, endpoints); err != nil {
			fmt.Printf("FAILED %s: %v\n", s.name, err)
			failed = true
			continue
		}
		fmt.Printf("ok %s\n", s.name)
		fmt.Printf("   in %s\n", time.Since(began).Round(time.Millisecond))
	}
	if failed {
		os.Exit(1)
	}
}

// Another version of this program may have run on the store before.
func clear(endpoint string) {
	client := connect(endpoint, "", "")
	defer client.Close()
	for _, prefix := range []string{"/go/", "/registry/go-"} {
		must(client.Delete(context.Background(), prefix, clientv3.WithPrefix()))
	}
}

func try(s scenario, endpoints []string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer func() {
		if broken, ok := recover().(failure); ok {
			err = broken
		}
	}()
	one := connect(endpoints[0], "", "")
	defer one.Close()
	two := connect(endpoints[len(endpoints)-1], "", "")
	defer two.Close()
	s.run(ctx, one, two)
	return nil
}

func connect(endpoint, user, password string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		PermitWithoutStream:  true,
		MaxCallSendMsgSize:   8 << 20,
		Username:             user,
		Password:             password,
		DialOptions:          []grpc.DialOption{grpc.WithBlock()},
	})
	check(err)
	return client
}

type failure struct{ error }

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func assert(holds bool, format string, args ...any) {
	if !holds {
		panic(failure{fmt.Errorf(format, args...)})
	}
}

// Keys in directories that lie on different shards: below /registry, each directory may lie elsewhere.
func spread(name string) []string {
	keys := make([]string, 9)
	for i := range keys {
		keys[i] = fmt.Sprintf("/registry/go-%s%d/key", name, i)
	}
	return keys
}
