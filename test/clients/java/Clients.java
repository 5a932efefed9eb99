import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.election.LeaderKey;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * What a Java program does with jetcd, through two proxies. Prints "ok NAME" for each scenario that holds. Environment:
 * ENDPOINTS and GUARDED, "host:port,host:port" of the proxies of an open and of a guarded store; ROOT, "name:password".
 */
public final class Clients {
  private static final long PATIENCE = 60;
  private static Client one;
  private static Client two;

  private interface Scenario {
    void run() throws Exception;
  }

  public static void main(String[] args) {
    one = connect("ENDPOINTS", 0, null);
    two = connect("ENDPOINTS", 1, null);
    Map<String, Scenario> scenarios = new LinkedHashMap<>();
    scenarios.put("put", Clients::puts);
    scenarios.put("txn", Clients::txn);
    scenarios.put("watch", Clients::watch);
    scenarios.put("lease", Clients::lease);
    scenarios.put("lock", Clients::lock);
    scenarios.put("election", Clients::election);
    scenarios.put("auth", Clients::auth);
    boolean failed = false;
    for (Map.Entry<String, Scenario> each : scenarios.entrySet()) {
      long began = System.nanoTime();
      try {
        each.getValue().run();
        System.out.printf("ok %s%n   in %d ms%n", each.getKey(), (System.nanoTime() - began) / 1_000_000);
      } catch (Throwable error) {
        failed = true;
        System.out.println("FAILED " + each.getKey());
        error.printStackTrace(System.out);
      }
    }
    System.out.flush();
    System.exit(failed ? 1 : 0);
  }

  private static Client connect(String variable, int proxy, String user) {
    String[] endpoints = System.getenv(variable).split(",");
    var builder = Client.builder().endpoints("http://" + endpoints[Math.min(proxy, endpoints.length - 1)]);
    if (user != null) {
      builder.user(bytes(user.split(":")[0])).password(bytes(user.split(":")[1]));
    }
    return builder.build();
  }

  private static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  private static <T> T get(CompletableFuture<T> answer) throws Exception {
    return answer.get(PATIENCE, TimeUnit.SECONDS);
  }

  private static void equal(Object actual, Object expected) {
    if (!Objects.equals(actual, expected)) throw new AssertionError(actual + ", expected " + expected);
  }

  private static List<String> spread(String name) {
    List<String> keys = new ArrayList<>();
    for (int i = 0; i < 9; i++) keys.add("/registry/" + name + i + "/key");
    return keys;
  }

  private static List<String> keysOf(List<KeyValue> kvs) {
    return kvs.stream().map(kv -> kv.getKey().toString()).toList();
  }

  private static GetOption prefix() {
    return GetOption.builder().isPrefix(true).build();
  }

  private static void puts() throws Exception {
    List<String> keys = spread("java");
    long last = 0;
    for (String key : keys) {
      long revision = get(one.getKVClient().put(bytes(key), bytes(key + "!"))).getHeader().getRevision();
      if (revision <= last) throw new AssertionError(revision + " follows " + last);
      last = revision;
      KeyValue kv = get(two.getKVClient().get(bytes(key))).getKvs().get(0);
      equal(kv.getValue().toString(), key + "!");
      equal(kv.getModRevision(), revision);
    }
    equal(keysOf(get(two.getKVClient().get(bytes("/registry/java"), prefix())).getKvs()), keys);
    var newest = GetOption.builder().isPrefix(true).withLimit(1).withSortField(GetOption.SortTarget.MOD)
        .withSortOrder(GetOption.SortOrder.DESCEND).build();
    var answer = get(two.getKVClient().get(bytes("/registry/java"), newest));
    equal(keysOf(answer.getKvs()), keys.subList(8, 9));
    equal(answer.getCount(), 9L);
    var all = DeleteOption.builder().isPrefix(true).withPrevKV(true).build();
    equal(keysOf(get(one.getKVClient().delete(bytes("/registry/java"), all)).getPrevKvs()), keys);
  }

  private static void txn() throws Exception {
    ByteSequence key = bytes("java/account");
    get(one.getKVClient().delete(key));
    equal(create(one, key, "1").isSucceeded(), true);
    TxnResponse second = create(two, key, "2");
    equal(second.isSucceeded(), false);
    equal(second.getGetResponses().get(0).getKvs().get(0).getValue().toString(), "1");
  }

  private static TxnResponse create(Client client, ByteSequence key, String value) throws Exception {
    return get(client.getKVClient().txn().If(new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0)))
        .Then(Op.put(key, bytes(value), PutOption.DEFAULT)).Else(Op.get(key, GetOption.DEFAULT)).commit());
  }

  /** Watches a prefix; what it sees, or the error that ends it, goes into the queue. */
  private static Watch.Watcher watch(Client client, String prefix, long revision, BlockingQueue<Object> seen) {
    var option = WatchOption.builder().isPrefix(true).withRevision(revision).withPrevKV(true).build();
    return client.getWatchClient().watch(bytes(prefix), option, Watch.listener(
        answer -> seen.addAll(answer.getEvents()), seen::add));
  }

  private static WatchEvent next(BlockingQueue<Object> seen) throws Exception {
    Object event = seen.poll(PATIENCE, TimeUnit.SECONDS);
    if (event instanceof Throwable error) throw new AssertionError(error);
    if (event == null) throw new AssertionError("no event in time");
    return (WatchEvent) event;
  }

  private static void watch() throws Exception {
    List<String> keys = spread("java-watch");
    long start = get(one.getKVClient().put(bytes(keys.get(0)), bytes("before"))).getHeader().getRevision() + 1;
    BlockingQueue<Object> seen = new LinkedBlockingQueue<>();
    try (Watch.Watcher watcher = watch(two, "/registry/java-watch", start, seen)) {
      for (String key : keys) get(one.getKVClient().put(bytes(key), bytes("v")));
      get(one.getKVClient().delete(bytes(keys.get(4))));
      long last = start - 1;
      for (String key : keys) {
        WatchEvent event = next(seen);
        equal(event.getEventType(), WatchEvent.EventType.PUT);
        equal(event.getKeyValue().getKey().toString(), key);
        if (event.getKeyValue().getModRevision() <= last) throw new AssertionError("revisions grow");
        last = event.getKeyValue().getModRevision();
      }
      WatchEvent deleted = next(seen);
      equal(deleted.getEventType(), WatchEvent.EventType.DELETE);
      equal(deleted.getPrevKV().getValue().toString(), "v");
    }
  }

  private static void lease() throws Exception {
    long id = get(one.getLeaseClient().grant(60)).getID();
    List<String> keys = spread("java-lease");
    var leased = PutOption.builder().withLeaseId(id).build();
    for (String key : keys) get(two.getKVClient().put(bytes(key), bytes("v"), leased));
    equal(get(two.getLeaseClient().keepAliveOnce(id)).getTTL(), 60L);
    var left = get(two.getLeaseClient().timeToLive(id, LeaseOption.builder().withAttachedKeys().build()));
    equal(left.getGrantedTTL(), 60L);
    equal(left.getKeys().stream().map(ByteSequence::toString).sorted().toList(), keys);
    get(two.getLeaseClient().revoke(id));
    equal(get(one.getKVClient().get(bytes("/registry/java-lease"), prefix())).getCount(), 0L);
  }

  private static void lock() throws Exception {
    long first = get(one.getLeaseClient().grant(60)).getID();
    long second = get(two.getLeaseClient().grant(60)).getID();
    ByteSequence name = bytes("java-lock");
    ByteSequence held = get(one.getLockClient().lock(name, first)).getKey();
    var waiting = two.getLockClient().lock(name, second);
    // Until the second one is in line.
    while (get(one.getKVClient().get(bytes("java-lock/"), prefix())).getCount() < 2) Thread.onSpinWait();
    equal(waiting.isDone(), false);
    get(one.getLockClient().unlock(held));
    get(two.getLockClient().unlock(get(waiting).getKey()));
    equal(get(one.getKVClient().get(bytes("java-lock/"), prefix())).getCount(), 0L);
    get(one.getLeaseClient().revoke(first));
    get(one.getLeaseClient().revoke(second));
  }

  private static void election() throws Exception {
    long first = get(one.getLeaseClient().grant(60)).getID();
    long second = get(two.getLeaseClient().grant(60)).getID();
    ByteSequence name = bytes("java-election");
    BlockingQueue<String> leaders = new LinkedBlockingQueue<>();
    LeaderKey alpha = get(one.getElectionClient().campaign(name, first, bytes("alpha"))).getLeader();
    two.getElectionClient().observe(name, new Election.Listener() {
      @Override
      public void onNext(LeaderResponse answer) {
        leaders.add(answer.getKv().getValue().toString());
      }

      @Override
      public void onError(Throwable error) {
        leaders.add(error.toString());
      }

      @Override
      public void onCompleted() {}
    });
    equal(leaders.poll(PATIENCE, TimeUnit.SECONDS), "alpha");
    get(one.getElectionClient().proclaim(alpha, bytes("alpha again")));
    equal(leaders.poll(PATIENCE, TimeUnit.SECONDS), "alpha again");
    var waiting = two.getElectionClient().campaign(name, second, bytes("beta"));
    get(one.getElectionClient().resign(alpha));
    LeaderKey beta = get(waiting).getLeader();
    equal(beta.getLease(), second);
    equal(leaders.poll(PATIENCE, TimeUnit.SECONDS), "beta");
    equal(get(one.getElectionClient().leader(name)).getKv().getValue().toString(), "beta");
    get(one.getLeaseClient().revoke(first));
    get(one.getLeaseClient().revoke(second));
  }

  private static void auth() throws Exception {
    try (Client root = connect("GUARDED", 0, System.getenv("ROOT"))) {
      var admin = root.getAuthClient();
      get(admin.userAdd(bytes("duke"), bytes("secret")));
      get(admin.roleAdd(bytes("dukes")));
      get(admin.roleGrantPermission(
          bytes("dukes"), bytes("/registry/duke"), bytes("/registry/dukf"), Permission.Type.READWRITE));
      get(admin.userGrantRole(bytes("duke"), bytes("dukes")));
      try (Client user = connect("GUARDED", 1, "duke:secret")) {
        BlockingQueue<Object> seen = new LinkedBlockingQueue<>();
        List<String> keys = spread("duke");
        long start = get(user.getKVClient().put(bytes(keys.get(0)), bytes("v"))).getHeader().getRevision();
        try (Watch.Watcher watcher = watch(user, "/registry/duke", start, seen)) {
          for (String key : keys.subList(1, 9)) get(user.getKVClient().put(bytes(key), bytes("v")));
          for (String key : keys) equal(next(seen).getKeyValue().getKey().toString(), key);
        }
        equal(get(user.getKVClient().get(bytes("/registry/duke"), prefix())).getCount(), 9L);
        refused(user, "etcdserver: permission denied");
      }
      try (Client nobody = connect("GUARDED", 1, null)) {
        refused(nobody, "etcdserver: user name is empty");
      }
      get(admin.userDelete(bytes("duke")));
      get(admin.roleDelete(bytes("dukes")));
    }
  }

  private static void refused(Client client, String text) throws Exception {
    try {
      get(client.getKVClient().put(bytes("/other"), bytes("v")));
    } catch (java.util.concurrent.ExecutionException error) {
      if (error.getMessage().contains(text)) return;
      throw error;
    }
    throw new AssertionError("not refused");
  }
}
