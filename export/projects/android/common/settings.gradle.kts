// Gradle builds the app. This file tells it where plugins and libraries come from, and what is to be built.
pluginManagement {
    repositories {
        google() // Android's own plugin
        mavenCentral() // Kotlin
        gradlePluginPortal()
    }
}
dependencyResolutionManagement {
    // Only the places that are named here are asked for libraries.
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google() // LiteRT
        mavenCentral() // Kotlin's standard library
    }
}
rootProject.name = "@WORD@"
include(":app") // the folder app/
