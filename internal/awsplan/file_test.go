package awsplan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/roam-sessions/roam/internal/topology"
)

// The file that nodes and applications go by is one that topology takes, and it says what was settled. With members it
// is the same everywhere.
func TestFile(t *testing.T) {
	for name, s := range matrix() {
		if s.Variant != "" && s.Variant != VariantCache {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.run(planned(t, s), schemas(t))
			texts := map[string]string{}
			for key, m := range c.stacks {
				if key[0] == "sessions-config" {
					texts[key[1]] = fmt.Sprint(m.rendered.Resources["File"].Properties["Value"])
				}
			}
			if n := len(s.withDefaults().places()); len(texts) != n {
				t.Fatalf("%d files in %d Regions", len(texts), n)
			}
			home := texts[s.Regions[0].Name]
			for region, text := range texts {
				if s.Promoter != PromoterNodes {
					alone(t, text, region, s)
					continue
				}
				if text != home {
					t.Errorf("%s has another file than %s:\n%s\n%s", region, s.Regions[0].Name, text, home)
				}
				steered(t, text, s)
			}
		})
	}
}

// Where there are no caches, the file has all Regions with what keeps sessions there, and the shop's role may ask them.
func TestFileOfStores(t *testing.T) {
	for name, s := range matrix() {
		if s.Variant == VariantCache || s.Variant == "" || !s.Shop {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.run(planned(t, s), schemas(t))
			policies := 1 // of a table in all Regions
			if s.Variant == VariantDSQL {
				policies = len(s.Regions) // each endpoint has its own
			}
			for _, r := range s.Regions {
				stored(t, fmt.Sprint(c.stacks[[2]string{"sessions-config", r.Name}].rendered.Resources["File"].Properties["Value"]), s)
				shop := c.stacks[[2]string{"sessions-shop", r.Name}].rendered
				arns := fmt.Sprint(shop.Resources["Role"].Properties["ManagedPolicyArns"])
				if n := strings.Count(arns, "arn:aws:iam:"); n != policies {
					t.Errorf("%s: the shop's role has %s, want %d", r.Name, arns, policies)
				}
			}
		})
	}
}

// stored wants a file to have all Regions, each with a table or a cluster.
func stored(t *testing.T, text string, s Settings) {
	t.Helper()
	d := parsed(t, text)
	if len(d.Regions) != len(s.Regions) || d.Topology != topology.ActiveActive {
		t.Fatalf("%+v", d)
	}
	for i, r := range d.Regions {
		want := topology.Engine{Dynamo: &topology.Dynamo{Table: "sessions-sessions", AWSRegion: r.Name, Strong: s.Strong}}
		if s.Variant == VariantDSQL {
			if r.Engine.DSQL == nil || !strings.HasSuffix(r.Engine.DSQL.Endpoint, ".dsql."+r.Name+".on.aws") {
				t.Fatalf("%s: %+v", r.Name, r.Engine)
			}
			want = topology.Engine{DSQL: &topology.DSQL{Endpoint: r.Engine.DSQL.Endpoint, AWSRegion: r.Name, User: "roam", Schema: "roam"}}
		}
		if d := cmp.Diff(want, r.Engine); r.Name != s.Regions[i].Name || int(r.ID) != i+1 || d != "" {
			t.Errorf("%s, %d: %s", r.Name, r.ID, d)
		}
	}
}

// parsed reads a file.
func parsed(t *testing.T, text string) topology.Deployment {
	t.Helper()
	d, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

// alone wants a file without members to follow the writer's name, and to read in its own Region.
func alone(t *testing.T, text, region string, s Settings) {
	t.Helper()
	d := parsed(t, text)
	r := d.Regions[0]
	v := r.Engine.Valkey
	if len(d.Regions) != 1 || d.Control != nil || v == nil || !slices.Equal(v.Addrs, []string{"write.session.internal:6379"}) {
		t.Fatalf("%s: %+v", region, d)
	}
	if v.TLS == nil || !slices.Equal(v.TLS.Targets, []string{".cache.amazonaws.com", ".cache.amazonaws.com.cn"}) {
		t.Errorf("%s: whose certificates are wanted: %+v", region, v.TLS)
	}
	want := []string{"master.sessions-" + region + ".abc123.use1.cache.amazonaws.com:6379"}
	if s.ClusterMode {
		want = nil
	}
	if !slices.Equal(v.Replicas, want) || (r.Side != nil) != s.Side {
		t.Errorf("%s: reads from %v, want %v; side store %+v", region, v.Replicas, want, r.Side)
	}
	if r.Side != nil && !strings.Contains(r.Side.Valkey.Addrs[0], "sessions-side-"+region+".") {
		t.Errorf("%s: side store %v", region, r.Side.Valkey.Addrs)
	}
}

// steered wants a file with members to have all Regions, and the Global Datastore.
func steered(t *testing.T, text string, s Settings) {
	t.Helper()
	d := parsed(t, text)
	if len(d.Regions) != len(s.Regions) || d.Primary != s.Regions[0].Name || d.Control == nil || d.Control.Datastore == nil || d.Control.Datastore.ID != "virxk-sessions" {
		t.Fatalf("%+v", d)
	}
	voters := len(s.Regions)
	if s.Witness.Name != "" {
		voters++
	}
	if len(d.Voters()) != voters || voters%2 == 0 {
		t.Errorf("%d voters, want %d and odd", len(d.Voters()), voters)
	}
	endpoint := map[bool]string{false: "master.", true: "clustercfg."}[s.ClusterMode]
	for i, r := range d.Regions {
		if want := endpoint + "sessions-" + r.Name + "."; !strings.HasPrefix(r.Engine.Valkey.Addrs[0], want) {
			t.Errorf("%s is at %v, want %s…", r.Name, r.Engine.Valkey.Addrs, want)
		}
		if d := cmp.Diff(&topology.Group{ID: "sessions-" + s.Regions[i].Name, AWS: s.Regions[i].Name}, r.Group); d != "" {
			t.Errorf("%s: %s", r.Name, d)
		}
		if r.Name != s.Regions[i].Name || r.Engine.Valkey.TLS == nil || (r.Side != nil) != s.Side || len(r.Engine.Valkey.Replicas) > 0 {
			t.Errorf("%+v", r)
		}
	}
}
