import { createApp } from 'vue'
import '../styles/base.css'
import '../styles/console.css'
import App from './App.vue'
createApp(App).mount('#app')
