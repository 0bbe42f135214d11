// Package elasticache looks at a Global Datastore of Amazon ElastiCache from one of its
// Regions, and moves its primary there.
//
// Look asks once. A Datastore goes on looking, for a control plane whose servers ElastiCache
// manages: who follows whom is ElastiCache's to change there, and takes it a minute.
package elasticache
